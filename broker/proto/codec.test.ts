import { describe, expect, it } from 'vitest';
import { codec } from './codec.ts';

describe('codec', () => {
  it('reads what is not set as proto3 does: empty bytes are bytes', () => {
    const { decode } = codec<object, Record<string, unknown>>('lastmile.v1.EncryptRequest');
    const { key, version, plaintext, associatedData } = decode(new Uint8Array(0));
    expect({ key, version }).toEqual({ key: '', version: 0 });
    expect(plaintext).toEqual(new Uint8Array(0));
    expect(associatedData).toEqual(new Uint8Array(0));
  });

  it('reads a member of a oneof that is not set as not there', () => {
    const { decode } = codec<object, object>('lastmile.v1.SignRequest');
    expect(Object.hasOwn(decode(new Uint8Array(0)), 'message')).toBe(false);
  });
});
