package org.understudy.libvirt;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.time.Duration;
import java.time.Instant;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The script itself, run by this machine's sh as libvirt would. */
class QemuHookTest {
  private static final String UUID = "11111111-2222-3333-4444-555555555555";
  private static final String XML =
      """
      <domain type='qemu'>
        <name>web</name>
        <uuid>%s</uuid>
      """
          .formatted(UUID);
  private static final String STANDBY =
      """
        <qemu:commandline>
          <qemu:arg value='-incoming'/>
          <qemu:arg value='defer'/>
        </qemu:commandline>
      """;

  private record Said(int exit, String sentence, Duration took) {}

  @TempDir Path folder;
  private Path state;
  private Path run;
  private Path hook;

  @BeforeEach
  void install() throws IOException {
    state = Files.createDirectories(folder.resolve("state"));
    run = Files.createDirectories(folder.resolve("run"));
    install(true);
  }

  private void install(boolean startUnheard) throws IOException {
    hook = folder.resolve("etc/hooks/qemu.d/understudy");
    new QemuHook("host-a", state, run, startUnheard).install(hook);
  }

  private void record(String role, String owner, int generation) throws IOException {
    Files.createDirectories(state.resolve("domains"));
    Files.writeString(
        state.resolve("domains").resolve(UUID + ".json"),
        """
        {
          "format" : 1,
          "domain" : "%s",
          "domainName" : "web \\"role\\" : \\"owner\\"",
          "generation" : %d,
          "owner" : "%s",
          "role" : "%s",
          "peer" : "host-b",
          "committedEpoch" : 0
        }
        """
            .formatted(UUID, generation, owner, role));
  }

  private Said call(String operation, String more) throws Exception {
    Instant from = Instant.now();
    Process process =
        new ProcessBuilder(hook.toString(), "web", operation, "begin", "-")
            .redirectOutput(folder.resolve("out").toFile())
            .redirectError(folder.resolve("err").toFile())
            .start();
    try (var in = process.getOutputStream()) {
      in.write((XML + more + "</domain>\n").getBytes(StandardCharsets.UTF_8));
    } catch (IOException e) {
      // It did not read to the end, which libvirt survives as well.
    }
    assertTrue(process.waitFor(20, TimeUnit.SECONDS), "the hook hangs");
    assertEquals("", Files.readString(folder.resolve("out")), "libvirt would take it for XML");
    return new Said(
        process.exitValue(),
        Files.readString(folder.resolve("err")).strip(),
        Duration.between(from, Instant.now()));
  }

  private void answers(String sentence) {
    Path starts = run.resolve("starts");
    Thread daemon =
        new Thread(
            () -> {
              try {
                for (int i = 0; i < 1000; i++) {
                  try (Stream<Path> files = Files.list(starts)) {
                    for (Path ask : files.filter(f -> f.toString().endsWith(".ask")).toList()) {
                      String name = ask.toString();
                      Path fresh = Path.of(name.substring(0, name.length() - 4) + ".new");
                      Files.writeString(fresh, sentence + "\n");
                      Files.move(fresh, Path.of(name.substring(0, name.length() - 4) + ".answer"));
                      return;
                    }
                  }
                  Thread.sleep(5);
                }
              } catch (IOException | InterruptedException e) {
                throw new IllegalStateException(e);
              }
            });
    daemon.setDaemon(true);
    daemon.start();
  }

  @Test
  void anOrdinaryDomainStartsAtOnce() throws Exception {
    Said said = call("prepare", "");
    assertEquals(0, said.exit());
    assertEquals("", said.sentence());
    assertTrue(Files.exists(run.resolve("hook")), "the call is not noted");
    assertTrue(said.took().toMillis() < 1000, "took " + said.took());
  }

  @Test
  void aGuestOfAnotherHostIsRefusedInOneSentence() throws Exception {
    for (String role : new String[] {"former", "standby"}) {
      record(role, "host-b", 7);
      Said said = call("prepare", "");
      assertEquals(1, said.exit(), role);
      assertEquals(
          "understudy: host host-b owns generation 7 of domain web, so it is not started on host-a;"
              + " to run it here, shut it down there and run: understudy claim web",
          said.sentence());
      assertEquals(0, call("release", "").exit());
      assertEquals(0, call("reconnect", "").exit());
    }
  }

  @Test
  void aStandbysPausedQemuStarts() throws Exception {
    record("standby", "host-b", 7);
    assertEquals(0, call("prepare", STANDBY).exit());
  }

  @Test
  void whatAMigrationBringsStartsOnceAndSoon() throws Exception {
    record("former", "host-b", 7);
    Files.createDirectories(run.resolve("starts"));
    assertEquals(0, call("migrate", "").exit());
    assertEquals(0, call("prepare", "").exit());
    assertEquals(1, call("prepare", "").exit(), "a second start passed for a migration");
    assertEquals(0, call("migrate", "").exit());
    Files.setLastModifiedTime(
        run.resolve("starts").resolve(UUID + ".incoming"),
        FileTime.from(Instant.now().minusSeconds(130)));
    assertEquals(1, call("prepare", "").exit(), "an old migration let it start");
  }

  @Test
  void anOwnedGuestStartsAtOnce() throws Exception {
    record("owner", "host-a", 7);
    assertEquals(0, call("prepare", "").exit());
  }

  @Test
  void aProtectedGuestStartsAsTheDaemonSays() throws Exception {
    record("primary", "host-a", 7);
    Files.createDirectories(run.resolve("starts"));
    answers("yes");
    assertEquals(0, call("prepare", "").exit());
    answers("no host host-b owns generation 8 of domain web");
    Said said = call("prepare", "");
    assertEquals(1, said.exit());
    assertEquals("understudy: host host-b owns generation 8 of domain web", said.sentence());
    try (Stream<Path> left = Files.list(run.resolve("starts"))) {
      assertEquals(0, left.count(), "questions are left behind");
    }
  }

  @Test
  void withoutAWordItStartsAndIsLoud() throws Exception {
    record("primary", "host-a", 7);
    Said dead = call("prepare", "");
    assertEquals(0, dead.exit());
    assertTrue(dead.sentence().contains("WARNING: nobody can say whether host host-b has taken"));
    Files.createDirectories(run.resolve("starts"));
    Said silent = call("prepare", "");
    assertEquals(0, silent.exit());
    assertTrue(silent.sentence().contains("understudyd on host-a does not answer"));
    assertTrue(Files.readString(state.resolve("hook.log")).contains("WARNING: nobody can say"));
    System.out.println("without an answer the hook took " + silent.took().toMillis() + " ms");
    answers("unheard host-b at 10.0.0.2:16520 cannot be reached");
    assertTrue(call("prepare", "").sentence().contains("10.0.0.2:16520 cannot be reached"));
  }

  @Test
  void withoutAWordItIsRefusedWhereThatIsChosen() throws Exception {
    install(false);
    record("ending", "host-a", 7);
    Said said = call("prepare", "");
    assertEquals(1, said.exit());
    assertTrue(said.sentence().endsWith("understudy claim web --force"), said.sentence());
  }

  @Test
  void aRecordThatCannotBeReadProvesNothing() throws Exception {
    record("master", "host-b", 7);
    Said said = call("prepare", "");
    assertEquals(0, said.exit());
    assertTrue(said.sentence().contains("cannot be read"), said.sentence());
  }

  @Test
  void somebodyElsesHookIsLeftAlone() throws Exception {
    Path theirs = folder.resolve("qemu");
    Files.writeString(theirs, "#!/bin/sh\n");
    IOException e =
        assertThrows(
            IOException.class, () -> new QemuHook("host-a", state, run, true).install(theirs));
    assertTrue(e.getMessage().contains("somebody else's"), e.getMessage());
    assertEquals("#!/bin/sh\n", Files.readString(theirs));
    install(true); // over our own
  }
}
