# Reads .cache/endure.tsv with -F '\t' and judges the run named by "run": what grows is compared between the second and the last
# quarter of the samples, by the median. Exit code 1 when a bound is broken. Memory needs ten minutes to mean anything.
NR == 1 { for (i = 1; i <= NF; i++) name[i] = $i; columns = NF; next }
$1 != run { next }
{
  n++
  for (i = 1; i <= NF; i++) value[n, i] = $i
  if ($5 != "PROTECTED") broken++
}
function median(column, from, to, i, j, k, t) {
  k = 0
  for (i = from; i <= to; i++) if (value[i, column] != "") sorted[++k] = value[i, column] + 0
  for (i = 2; i <= k; i++) for (j = i; j > 1 && sorted[j - 1] > sorted[j]; j--) { t = sorted[j]; sorted[j] = sorted[j - 1]; sorted[j - 1] = t }
  return k ? sorted[int((k + 1) / 2)] : -1
}
function judge(column, bound, unit, before, after, good) {
  before = median(column, int(n / 4) + 1, int(n / 2))
  after = median(column, int(n * 3 / 4) + 1, n)
  good = after - before <= bound
  printf "%s  %s: %d, then %d %s (may grow by %d)\n", good ? "ok" : "not ok", name[column], before, after, unit, bound
  if (!good) failures++
}
END {
  if (n < 4) { print "not ok  only " n + 0 " samples"; exit 1 }
  printf "%s  protected in %d of %d samples\n", broken ? "not ok" : "ok", n - broken, n
  if (broken) failures++
  long = value[n, 4] - value[1, 4] >= 600
  for (i = 1; i <= columns; i++) {
    if (name[i] ~ /_fds$/) judge(i, name[i] ~ /qemu/ ? 0 : 2, "descriptors")
    if (name[i] ~ /_threads$/) judge(i, name[i] ~ /qemu/ ? 4 : 2, "threads")
    if (name[i] == "files") judge(i, 2, "files")
    if (!long) continue
    if (name[i] ~ /_rss_kib$/) judge(i, name[i] ~ /guard/ ? 2048 : 16384, "KiB")
    if (name[i] ~ /^live_/) judge(i, 2048, "KiB alive")
    if (name[i] == "files_kib") judge(i, 16384, "KiB in files")
  }
  if (!long) print "    memory is not judged in a run of less than ten minutes"
  exit failures > 0
}
