/**
 * Everything that knows libvirt: hosts, domains, their events and monitors; whether a domain can be
 * protected and a host can be its standby; the standby domain.
 */
package org.understudy.libvirt;
