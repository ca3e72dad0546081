package org.understudy;

import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;

import com.tngtech.archunit.core.importer.ImportOption.DoNotIncludeTests;
import com.tngtech.archunit.junit.AnalyzeClasses;
import com.tngtech.archunit.junit.ArchTest;
import com.tngtech.archunit.lang.ArchRule;

/**
 * A package imports only what lies upstream in the way of a page; between modules the poms enforce
 * it.
 */
@AnalyzeClasses(packages = "org.understudy", importOptions = DoNotIncludeTests.class)
class ImportDirectionTest {
  @ArchTest
  static final ArchRule vocabularyKnowsOnlyTheJdk =
      noClasses()
          .that()
          .resideInAPackage("org.understudy.guest..")
          .should()
          .dependOnClassesThat()
          .resideOutsideOfPackages("org.understudy.guest..", "java..");

  @ArchTest
  static final ArchRule onlyLinuxMakesSystemCalls =
      noClasses()
          .that()
          .resideOutsideOfPackages("org.understudy.linux..", "org.understudy.libvirt..")
          .should()
          .dependOnClassesThat()
          .resideInAPackage("com.sun.jna..");

  @ArchTest
  static final ArchRule onlyTheLibvirtPackageSeesLibvirt =
      noClasses()
          .that()
          .resideOutsideOfPackage("org.understudy.libvirt..")
          .should()
          .dependOnClassesThat()
          .resideInAPackage("org.libvirt..");

  @ArchTest
  static final ArchRule onlyTheSshPackageSeesSsh =
      noClasses()
          .that()
          .resideOutsideOfPackage("org.understudy.ssh..")
          .should()
          .dependOnClassesThat()
          .resideInAPackage("org.apache.sshd..");

  @ArchTest
  static final ArchRule onlyTheDaemonSeesTheConfiguration =
      noClasses()
          .that()
          .resideOutsideOfPackages("org.understudy.daemon..", "org.understudy.cli..")
          .should()
          .dependOnClassesThat()
          .resideInAPackage("org.apache.commons.configuration2..");

  @ArchTest
  static final ArchRule theLinkDoesNotKnowCapture =
      noClasses()
          .that()
          .resideInAPackage("org.understudy.link..")
          .should()
          .dependOnClassesThat()
          .resideInAnyPackage(
              "org.understudy.capture..", "org.understudy.dirtylog..", "org.understudy.linux..");
}
