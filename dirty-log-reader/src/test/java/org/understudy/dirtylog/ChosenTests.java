package org.understudy.dirtylog;

import static org.junit.platform.engine.discovery.DiscoverySelectors.selectClass;

import java.util.ArrayList;
import java.util.List;
import org.junit.platform.engine.TestExecutionResult;
import org.junit.platform.engine.discovery.ClassNameFilter;
import org.junit.platform.launcher.TestExecutionListener;
import org.junit.platform.launcher.TestIdentifier;
import org.junit.platform.launcher.core.LauncherDiscoveryRequestBuilder;
import org.junit.platform.launcher.core.LauncherFactory;

/**
 * Runs test classes where there is a Java runtime but no Maven, as in a guest with another kernel:
 * {@code java -cp … org.understudy.dirtylog.ChosenTests CLASS…}. Prints a line for each test, then
 * their count; exit code 1 if one failed or if none passed.
 */
public final class ChosenTests implements TestExecutionListener {
  private int passed;
  private int failed;
  private int skipped;

  private ChosenTests() {}

  /** Takes names of test classes. */
  public static void main(String[] classes) {
    ChosenTests result = new ChosenTests();
    List<org.junit.platform.engine.discovery.ClassSelector> selectors = new ArrayList<>();
    for (String name : classes) {
      selectors.add(selectClass(name));
    }
    LauncherFactory.create()
        .execute(
            LauncherDiscoveryRequestBuilder.request()
                .selectors(selectors)
                .filters(ClassNameFilter.includeClassNamePatterns(".*"))
                .build(),
            result);
    System.out.printf(
        "%d passed, %d failed, %d skipped%n", result.passed, result.failed, result.skipped);
    System.exit(result.failed > 0 || result.passed == 0 ? 1 : 0);
  }

  @Override
  public void executionFinished(TestIdentifier test, TestExecutionResult result) {
    String why = result.getThrowable().map(Throwable::getMessage).orElse("no message");
    if (result.getStatus() == TestExecutionResult.Status.FAILED) {
      failed++;
      System.out.println("not ok  " + test.getUniqueId() + ": " + why);
      result.getThrowable().ifPresent(thrown -> thrown.printStackTrace(System.out));
    } else if (test.isTest() && result.getStatus() == TestExecutionResult.Status.ABORTED) {
      skipped++;
      System.out.println("skipped  " + name(test) + ": " + why);
    } else if (test.isTest()) {
      passed++;
      System.out.println("ok  " + name(test));
    }
  }

  @Override
  public void executionSkipped(TestIdentifier test, String reason) {
    skipped++;
    System.out.println("skipped  " + name(test) + ": " + reason);
  }

  private static String name(TestIdentifier test) {
    String id = test.getUniqueId();
    int method = Math.max(id.indexOf("method:"), id.indexOf("test-template:"));
    String where = method < 0 ? id : id.substring(id.indexOf(':', method) + 1).split("[(]", 2)[0];
    return where.equals(test.getDisplayName().split("[(]", 2)[0])
        ? where
        : where + " " + test.getDisplayName();
  }
}
