package org.understudy.guard;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class GuardSettingsTest {
  @TempDir Path folder;

  @Test
  void settingsComeBackFromAFileThatOnlyItsOwnerReads() throws IOException {
    ProcessIdentity self = ProcessIdentity.of((int) ProcessHandle.current().pid());
    GuardSettings settings =
        GuardSettings.of(
                self,
                folder.resolve("with space:and=signs"),
                "standby.example",
                4711,
                List.of("virsh", "-c", "qemu:///embed?root=/a b", "domstate", "--reason", "vm #1"))
            .withTimes(1, 2, 3);
    Path file = folder.resolve("settings");
    settings.write(file);
    settings.write(file);
    assertEquals(settings, GuardSettings.read(file));
    assertEquals("rw-------", PosixFilePermissions.toString(Files.getPosixFilePermissions(file)));
    assertFalse(settings.toString().contains(settings.key()));
  }

  @Test
  void whatIsMissingIsNamed() throws IOException {
    Path file = Files.writeString(folder.resolve("settings"), "session=x\n");
    IOException e = assertThrows(IOException.class, () -> GuardSettings.read(file));
    assertTrue(e.getMessage().contains(file.toString()), e.getMessage());
  }

  @Test
  void aLaterProcessOfTheSameNumberIsNotHeld() throws IOException {
    ProcessIdentity self = ProcessIdentity.of((int) ProcessHandle.current().pid());
    self.hold().close();
    ProcessIdentity earlier = new ProcessIdentity(self.pid(), self.startTicks() - 1);
    assertThrows(IOException.class, earlier::hold);
  }
}
