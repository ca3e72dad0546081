package org.understudy.cli;

import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.ParentCommand;

/** Says which Understudy and which Java this is. */
@Command(name = "version", description = "Show the version.")
final class VersionVerb implements Callable<Integer> {
  @ParentCommand private Understudy understudy;

  @Override
  public Integer call() {
    String version = Understudy.class.getPackage().getImplementationVersion();
    understudy
        .out()
        .printf(
            "understudy %s (Java %s)%n",
            version == null ? "(not packaged)" : version, Runtime.version());
    return 0;
  }
}
