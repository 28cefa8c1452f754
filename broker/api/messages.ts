import { Failure } from '../keyuse/failure.ts';
import { codec } from '../proto/codec.ts';

/** Reads messages of one type. Bytes that are none are the caller's mistake. */
export function message<T>(name: string): { decode(bytes: Uint8Array): T } {
  const { decode } = codec<object, object>(`lastmile.v1.${name}`);
  return {
    decode: (bytes) => {
      try {
        return decode(bytes) as T;
      } catch (cause) {
        throw new Failure('REQUEST_INVALID', 'request is not a well-formed message of this method', {
          cause,
        });
      }
    },
  };
}

export function reply(name: string): (value: object) => Uint8Array {
  const { encode } = codec<object, object>(`lastmile.v1.${name}`);
  return encode;
}
