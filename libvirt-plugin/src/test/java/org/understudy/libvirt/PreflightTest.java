package org.understudy.libvirt;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class PreflightTest {
  private static final String COMMANDS =
      "[{'name':'query-status'},{'name':'xen-save-devices-state'}]";

  private static JsonNode json(String text) throws Exception {
    return new ObjectMapper().readTree(text.replace('\'', '"'));
  }

  private static List<Finding> judge(String commands, String status, String migration)
      throws Exception {
    return Preflight.judgeMonitor("db", json(commands), json(status), json(migration));
  }

  @Test
  void aRunningQemuWithoutBlockersPasses() throws Exception {
    assertEquals(List.of(), judge(COMMANDS, "{'status':'running'}", "{}"));
    assertEquals(List.of(), judge(COMMANDS, "{'status':'running'}", "{'status':'completed'}"));
  }

  @Test
  void eachMigrationBlockerIsRefusedInQemusWords() throws Exception {
    List<Finding> findings =
        judge(
            COMMANDS,
            "{'status':'running'}",
            "{'blocked-reasons':['VFIO device 65:00.0','Migration is disabled when virgl']}");
    assertEquals(2, findings.size());
    assertTrue(findings.get(0).sentence().contains("VFIO device 65:00.0"));
  }

  @Test
  void aQemuWithoutTheCommandOrPausedOrMigratingIsRefused() throws Exception {
    List<Finding> findings =
        judge("[{'name':'stop'}]", "{'status':'paused'}", "{'status':'active'}");
    assertEquals(3, findings.size());
    assertTrue(findings.get(0).sentence().contains("no command xen-save-devices-state"));
    assertTrue(findings.get(1).sentence().contains("\"paused\""));
    assertTrue(findings.get(2).sentence().contains("migrated or saved (active)"));
  }

  @Test
  void qemuConfIsReadAsLibvirtReadsIt(@TempDir Path folder) throws Exception {
    Path file = folder.resolve("qemu.conf");
    assertEquals(new QemuConf(file, "", "", true), QemuConf.read(file));
    Files.writeString(
        file, "#user = \"qemu\"\nuser = \"libvirt-qemu\"\n  lock_manager = \"lockd\"\n");
    assertEquals(new QemuConf(file, "libvirt-qemu", "lockd", true), QemuConf.read(file));
    Files.writeString(file, "user=\"+0\"\nlock_manager=\"nop\"\n");
    assertTrue(QemuConf.read(file).asRoot());
    assertEquals("", QemuConf.read(file).lockManager());
    assertTrue(QemuConf.read(file).confined());
    Files.writeString(file, "security_driver = \"none\"\n");
    assertFalse(QemuConf.read(file).confined());
  }
}
