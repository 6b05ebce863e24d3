/**
 * Names inside HAProxy. Its identifiers may hold letters, digits and `- _ . :` (configuration manual §2), and its commands address a server
 * as `proxy/server`, so what comes from outside is mapped onto that alphabet, one to one and back without any memory.
 */

/** The backend section of ours; the dot keeps it apart from names that HAProxy would take for a number or an id. */
export function proxyName(backend: string): string {
  return `be.${backend}`;
}

/** The backend of a section's name, or undefined for a section that is not one of ours. */
export function backendOf(proxy: string): string | undefined {
  return proxy.startsWith('be.') ? proxy.slice(3) : undefined;
}

/** A peer's id (printable ASCII) as a server's name: other characters than letters, digits and `. : -` become `_` and two hex digits. */
export function serverName(peerId: string): string {
  return peerId.replace(/[^A-Za-z0-9.:-]/g, (character) => `_${character.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

/** The inverse of {@link serverName}. */
export function peerIdOf(server: string): string {
  return server.replace(/_([0-9a-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}
