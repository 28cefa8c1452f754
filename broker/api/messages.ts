import { Failure } from '../keyuse/failure.ts';
import { codec } from '../proto/codec.ts';

/** Nothing can be read of a request, so that nobody else puts its refusal on record. */
export class Unreadable extends Failure {
  constructor(cause: unknown) {
    super('REQUEST_INVALID', 'request is not a well-formed message of this method', { cause });
  }
}

/** Reads messages of one type. Bytes that are none are the caller's mistake. */
export function message<T>(name: string): { decode(bytes: Uint8Array): T } {
  const { decode } = codec<object, object>(`lastmile.v1.${name}`);
  return {
    decode: (bytes) => {
      try {
        return decode(bytes) as T;
      } catch (cause) {
        throw new Unreadable(cause);
      }
    },
  };
}

export function reply(name: string): (value: object) => Uint8Array {
  const { encode } = codec<object, object>(`lastmile.v1.${name}`);
  return encode;
}
