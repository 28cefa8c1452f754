/** A frame that an honest gateway does not send: it ends that process, and nothing else. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError';
}
