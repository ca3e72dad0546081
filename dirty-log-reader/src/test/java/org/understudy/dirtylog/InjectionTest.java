package org.understudy.dirtylog;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Into a program that notices any register, flag or result that is not as it was. */
class InjectionTest {
  private static final int KILLS_PER_STEP = Integer.getInteger("understudy.kills", 2);
  private static final int CALLS = Integer.getInteger("understudy.injections", 1000);

  @ParameterizedTest
  @ValueSource(strings = {"quiet", "signals"})
  void targetDoesNotNoticeAThousandInjectedCalls(String mode) throws Exception {
    try (Target target = new Target("registers", mode)) {
      System.out.println("registers: " + target.line());
      Set<String> descriptors = target.descriptors();
      try (OtherJvm loop = new OtherJvm(InjectionLoop.class, target.pid(), CALLS)) {
        String result = loop.line();
        System.out.println(mode + ": " + result);
        assertTrue(result.startsWith(CALLS + " injections, 7 steps"), result);
        assertEquals(0, loop.await());
      }
      assertEquals(descriptors, target.descriptors());
      String last = target.finish();
      assertTrue(last.matches("ok \\d+"), last);
    }
  }

  static List<String> faults() {
    List<String> faults = new ArrayList<>();
    for (String phase : List.of("create", "close")) {
      for (InjectionStep step : InjectionStep.values()) {
        faults.add(phase + "." + step + ".kill");
      }
    }
    faults.add("create.STOPPED.stop");
    faults.add("create.RETURNED.stop");
    faults.add("close.ENTERED.stop");
    return faults;
  }

  @ParameterizedTest
  @MethodSource("faults")
  void targetSurvivesTheInjectorsDeathAndTheNextOneCleansUp(String fault) throws Exception {
    try (Target target = new Target("registers", "signals")) {
      target.line();
      Set<String> descriptors = target.descriptors();
      int repetitions = fault.endsWith(".kill") ? KILLS_PER_STEP : 1;
      for (int i = 0; i < repetitions; i++) {
        IOException death =
            assertThrows(IOException.class, () -> new Injector(target.pid(), fault).obtain());
        assertTrue(death.getMessage().startsWith("the injector for process"), death.getMessage());
        assertTrue(target.isAlive(), "after the injector's death");
      }
      new Injector(target.pid(), "").obtain().close();
      assertEquals(descriptors, target.descriptors());
      String last = target.finish();
      assertTrue(last.matches("ok \\d+"), last);
    }
  }

  @Test
  void processThatIsStoppedOrGoneOrTracedIsRefusedInASentence() throws Exception {
    try (Target target = new Target("writer")) {
      new ProcessBuilder("kill", "-STOP", "" + target.pid()).start().waitFor();
      IOException stopped =
          assertThrows(IOException.class, () -> new Injector(target.pid(), "").obtain());
      assertTrue(stopped.getMessage().contains("is stopped by signal 19"), stopped.getMessage());
      new ProcessBuilder("kill", "-CONT", "" + target.pid()).start().waitFor();
      new Injector(target.pid(), "").obtain().close();
      target.kill();
      IOException gone =
          assertThrows(IOException.class, () -> new Injector(target.pid(), "").obtain());
      assertTrue(gone.getMessage().contains("ESRCH"), gone.getMessage());
    }
  }

  @Test
  void leftoverIsRecognisedByItsFeatures() {
    assertTrue(LeftoverUserfaultfds.isOurs("API:\taa:0:1ff"));
    assertTrue(LeftoverUserfaultfds.isOurs("API:\taa:8000a001:1ff"));
    assertEquals(false, LeftoverUserfaultfds.isOurs("API:\taa:80000001:1ff"));
  }
}
