package org.understudy.daemon;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardWatchEventKinds;
import java.nio.file.WatchService;
import java.time.Duration;
import java.util.List;
import java.util.UUID;
import java.util.stream.Stream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Answers libvirt's hook, which asks before a domain starts that this host owns as far as it knows:
 * {@code <run-dir>/starts/UUID.N.ask} is answered by {@code UUID.N.answer}, one line that begins
 * with {@code yes}, {@code no} or {@code unheard}. libvirt waits for the hook, so nothing here asks
 * libvirt.
 */
final class StartQuestions {
  private static final Logger log = LoggerFactory.getLogger(StartQuestions.class);

  /** The hook waits for a second in all. */
  private static final Duration ASK = Duration.ofMillis(700);

  private final ThisHost host;
  private final Generations generations;
  private final Path folder;

  private StartQuestions(ThisHost host, Generations generations, Path folder) {
    this.host = host;
    this.generations = generations;
    this.folder = folder;
  }

  /** Answers from now on, in threads of its own; questions that nobody waits for any more go. */
  static void start(ThisHost host, Generations generations) throws IOException {
    Path folder = host.config().host().runDir().resolve("starts");
    Files.createDirectories(folder);
    StartQuestions questions = new StartQuestions(host, generations, folder);
    WatchService watch = folder.getFileSystem().newWatchService();
    folder.register(watch, StandardWatchEventKinds.ENTRY_CREATE);
    for (Path left : questions.files()) {
      if (!left.toString().endsWith(".incoming")) {
        Files.deleteIfExists(left);
      }
    }
    Thread thread = new Thread(() -> questions.run(watch), "start-questions");
    thread.setDaemon(true);
    thread.start();
  }

  private void run(WatchService watch) {
    try {
      while (true) {
        var key = watch.take();
        for (var event : key.pollEvents()) {
          String name = String.valueOf(event.context());
          if (name.endsWith(".ask")) {
            Thread answering = new Thread(() -> answer(name), "start-question");
            answering.setDaemon(true);
            answering.start();
          }
        }
        key.reset();
      }
    } catch (InterruptedException e) {
      // asked to stop
    }
  }

  private List<Path> files() throws IOException {
    try (Stream<Path> files = Files.list(folder)) {
      return files.toList();
    }
  }

  private void answer(String name) {
    String question = name.substring(0, name.length() - ".ask".length());
    try {
      String answer;
      try {
        answer = answerOf(UUID.fromString(question.split("\\.", 2)[0]));
      } catch (IOException | IllegalArgumentException e) {
        answer = "unheard " + e.getMessage();
      }
      Path fresh = folder.resolve(question + ".new");
      Files.writeString(fresh, answer.replace('\n', ' ') + "\n");
      if (Files.exists(folder.resolve(name))) {
        Files.move(fresh, folder.resolve(question + ".answer"), StandardCopyOption.ATOMIC_MOVE);
      } else {
        Files.delete(fresh); // the hook waits no more
      }
    } catch (IOException e) {
      log.warn("the hook's question {} was not answered: {}", question, e.toString());
    }
  }

  private String answerOf(UUID domain) throws IOException {
    Ownership known = host.ownership().read(domain).orElse(null);
    if (known == null || known.role() == Ownership.Role.OWNER) {
      return "yes";
    }
    if (!known.role().owns()) {
      return no(known, known.owner(), known.generation());
    }
    Generations.Word word;
    try {
      word = generations.announceStart(known, ASK);
    } catch (IOException e) {
      host.events()
          .add(
              known.domainName(),
              "WARNING: somebody starts it, and nobody can say whether host %s has taken over: %s"
                  .formatted(known.peer(), e.getMessage()));
      throw e;
    }
    if (word.newerThan(known.generation())) {
      host.ownership().write(known.lostTo(word.owner(), word.generation()));
      return no(known, word.owner(), word.generation());
    }
    if (word.takingOver()) {
      String sentence =
          "host %s is taking over domain %s, so it is not started on %s"
              .formatted(known.peer(), known.domainName(), host.name());
      host.events().add(known.domainName(), "a start was refused: " + sentence);
      return "no " + sentence;
    }
    host.events()
        .add(known.domainName(), "somebody starts it; host " + known.peer() + " has no objection");
    return "yes";
  }

  private String no(Ownership known, String owner, long generation) {
    host.events()
        .add(
            known.domainName(),
            "a start was refused: host %s owns generation %d".formatted(owner, generation));
    return "no host %s owns generation %d of domain %s, so it is not started on %s; to run it here, shut it down there and run: understudy claim %s"
        .formatted(owner, generation, known.domainName(), host.name(), known.domainName());
  }
}
