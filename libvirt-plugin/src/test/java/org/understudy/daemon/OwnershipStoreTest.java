package org.understudy.daemon;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.SplittableRandom;
import java.util.UUID;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class OwnershipStoreTest {
  private static final UUID DOMAIN = UUID.fromString("11111111-2222-3333-4444-555555555555");
  private static final Ownership FIRST =
      new Ownership(
          DOMAIN,
          "web ä",
          1,
          "host-a",
          Ownership.Role.PRIMARY,
          "host-b",
          new Ownership.Settings(200, Budget.parse("12.5%"), true),
          0,
          true);

  @TempDir Path state;
  private OwnershipStore store;
  private Path file;

  @BeforeEach
  void open() {
    store = new OwnershipStore(state);
    file = state.resolve("domains").resolve(DOMAIN + ".json");
  }

  @Test
  void whatWasWrittenIsReadByTheNextDaemon() throws IOException {
    assertEquals(Optional.empty(), store.read(DOMAIN));
    assertEquals(List.of(), store.all());
    store.write(FIRST);
    store.write(FIRST.withCommittedEpoch(17));
    Ownership taken = FIRST.withCommittedEpoch(17).nextGeneration("host-b", Ownership.Role.STANDBY);
    store.write(taken);
    assertEquals(Optional.of(taken), new OwnershipStore(state).read(DOMAIN));
    assertEquals(2, taken.generation());
    assertEquals(List.of(taken), new OwnershipStore(state).all());
    store.remove(DOMAIN);
    assertEquals(Optional.empty(), store.read(DOMAIN));
  }

  @Test
  void aGenerationNeverGoesBackAndNeverChangesItsOwner() throws IOException {
    store.write(FIRST.nextGeneration("host-b", Ownership.Role.STANDBY));
    IOException e = assertThrows(IOException.class, () -> store.write(FIRST));
    assertEquals(
        "domain web ä: generation 1 of host-a cannot follow generation 2 of host-b",
        e.getMessage());
    assertThrows(
        IOException.class,
        () -> store.write(FIRST.nextGeneration("host-a", Ownership.Role.PRIMARY)));
    assertEquals("host-b", store.read(DOMAIN).orElseThrow().owner());
  }

  @Test
  void aChangeIsLostIfAnotherCameFirst() throws IOException {
    store.write(FIRST);
    Ownership ending = FIRST.as(Ownership.Role.ENDING);
    assertTrue(store.writeIf(FIRST, ending));
    assertFalse(store.writeIf(FIRST, FIRST.as(Ownership.Role.OWNER)));
    assertEquals(Optional.of(ending), store.read(DOMAIN));
  }

  @Test
  void everyRoleIsReadAgainAndOnlyOwnersOwn() throws IOException {
    for (Ownership.Role role : Ownership.Role.values()) {
      Ownership each = FIRST.as(role).withAutostart(role.owns());
      store.write(each);
      assertEquals(Optional.of(each), store.read(DOMAIN));
    }
    Ownership lost = FIRST.lostTo("host-b", 2);
    assertEquals("host-b", lost.owner());
    assertFalse(lost.role().owns());
    assertTrue(lost.ownedBy("host-a", 3).role().owns());
  }

  @Test
  void aFileCutAnywhereIsOneSentenceNamingIt() throws IOException {
    store.write(FIRST);
    byte[] whole = Files.readAllBytes(file);
    for (int length = 0; length < whole.length; length++) {
      Files.write(file, Arrays.copyOf(whole, length));
      assertUnreadable();
    }
    Files.write(file, new byte[whole.length]);
    assertUnreadable();
  }

  @Test
  void foreignContentIsOneSentenceNamingTheFile() throws IOException {
    store.write(FIRST);
    String text = Files.readString(file);
    for (String[] change :
        new String[][] {
          {"\"format\" : 1", "\"format\" : 2"},
          {"\"generation\" : 1", "\"generation\" : 0"},
          {"\"generation\" : 1", "\"generation\" : 1.5"},
          {"\"generation\" : 1", "\"generation\" : 99999999999999999999"},
          {"\"committedEpoch\" : 0", "\"committedEpoch\" : -1"},
          {"\"intervalMs\" : 200", "\"intervalMs\" : 20000000000"},
          {"\"primary\"", "\"master\""},
          {"\"12.5%\"", "\"lots\""},
          {"\"owner\" : \"host-a\"", "\"owner\" : null"},
          {DOMAIN.toString(), "21111111-2222-3333-4444-555555555555"},
          {DOMAIN.toString(), "me"}
        }) {
      assertTrue(text.contains(change[0]), change[0]);
      Files.writeString(file, text.replace(change[0], change[1]));
      assertUnreadable();
    }
  }

  @Test
  void damagedBytesNeverPassForAnotherGenerationOrWorse() throws IOException {
    long seed = System.nanoTime();
    System.out.println("seed " + seed);
    SplittableRandom random = new SplittableRandom(seed);
    store.write(FIRST);
    byte[] whole = Files.readAllBytes(file);
    for (int round = 0; round < 2000; round++) {
      byte[] damaged = whole.clone();
      damaged[random.nextInt(damaged.length)] = (byte) random.nextInt();
      Files.write(file, damaged);
      try {
        store.read(DOMAIN);
      } catch (IOException e) {
        assertTrue(e.getMessage().contains(file.toString()), e.getMessage());
      }
    }
  }

  @Test
  void whatADyingWriterLeftBesideIsIgnored() throws IOException {
    store.write(FIRST);
    Files.write(
        file.resolveSibling("." + DOMAIN + ".json.77.1.new"),
        "{\"form".getBytes(StandardCharsets.UTF_8));
    assertEquals(List.of(FIRST), store.all());
    Files.writeString(file.resolveSibling("web.json"), "{}");
    IOException e = assertThrows(IOException.class, () -> store.all());
    assertTrue(e.getMessage().contains("web.json"), e.getMessage());
  }

  private void assertUnreadable() {
    IOException e = assertThrows(IOException.class, () -> store.read(DOMAIN));
    assertTrue(e.getMessage().startsWith(file + " cannot be relied on ("), e.getMessage());
    assertThrows(IOException.class, () -> store.write(FIRST));
  }
}
