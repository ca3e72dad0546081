# Reads .cache/endure.tsv with -F '\t' and prints the run named by "run" as SVG: epochs, memory, descriptors, files over minutes.
NR == 1 { for (i = 1; i <= NF; i++) column[$i] = i; next }
$1 != run { next }
{ n++; for (i = 1; i <= NF; i++) value[n, i] = $i }
function y_of(v, top) { return base - 110 * v / top }
function panel(title, names, labels, scale, unit, count, list, label, i, k, v, top, points, colour) {
  count = split(names, list, " "); split(labels, label, ",")
  top = 0
  for (k = 1; k <= count; k++) for (i = 1; i <= n; i++) { v = value[i, column[list[k]]] / scale; if (v > top) top = v }
  top = top > 0 ? top * 1.08 : 1
  base += 160
  printf "<text x=\"60\" y=\"%d\" class=\"t\">%s</text>\n", base - 122, title
  printf "<path d=\"M60 %d H640 M60 %d V%d\" class=\"a\"/>\n", base, base, base - 112
  printf "<text x=\"54\" y=\"%d\" class=\"r\">0</text><text x=\"54\" y=\"%d\" class=\"r\">%.0f %s</text>\n", base + 4, y_of(top / 1.08, top) + 4, top / 1.08, unit
  for (k = 1; k <= count; k++) {
    points = ""
    for (i = 1; i <= n; i++)
      if (value[i, column[list[k]]] != "")
        points = points sprintf("%.1f,%.1f ", 60 + 580 * value[i, 4] / last, y_of(value[i, column[list[k]]] / scale, top))
    colour = substr("#1b6ca8#c0392b#2e8b57#8e44ad#b7791f", 7 * k - 6, 7)
    printf "<polyline points=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"1.3\"/>\n", points, colour
    printf "<text x=\"650\" y=\"%d\" fill=\"%s\">%s</text>\n", base - 100 + 16 * k, colour, label[k]
  }
}
END {
  last = value[n, 4]; base = 20
  print "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 800 870\" font-family=\"sans-serif\" font-size=\"12\">"
  print "<style>.t{font-weight:bold}.r{text-anchor:end;font-size:10px}.a{stroke:#888;fill:none}</style>"
  print "<rect width=\"800\" height=\"870\" fill=\"#fff\"/>"
  printf "<text x=\"60\" y=\"22\">%s guest, epochs of %d ms, %d minutes, %d epochs, TCG; load average %.1f to %.1f</text>\n", value[1, 2], value[1, 3], last / 60, value[n, 6], low(), high
  panel("epochs committed", "epoch", "committed", 1, "")
  panel("memory, MiB resident", "qemu_a_rss_kib qemu_b_rss_kib daemon_a_rss_kib daemon_b_rss_kib guard_rss_kib", "QEMU,standby QEMU,daemon a,daemon b,guard", 1024, "")
  panel("heap alive after a full collection, MiB", "live_a_kib live_b_kib", "daemon a,daemon b", 1024, "")
  panel("descriptors", "qemu_a_fds qemu_b_fds daemon_a_fds daemon_b_fds guard_fds", "QEMU,standby QEMU,daemon a,daemon b,guard", 1, "")
  panel("files of both daemons, MiB", "files_kib", "all tiers and state", 1024, "")
  printf "<text x=\"60\" y=\"%d\">0</text><text x=\"640\" y=\"%d\" text-anchor=\"end\">%d min</text>\n</svg>\n", base + 16, base + 16, last / 60
}
function low(i, v) { v = 1e9; high = 0; for (i = 1; i <= n; i++) { if (value[i, 9] < v) v = value[i, 9]; if (value[i, 9] + 0 > high) high = value[i, 9] } return v }
