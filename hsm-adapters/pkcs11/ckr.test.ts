import { describe, expect, it } from 'vitest';
import { CKR_CODES, ckr, ckrName, ckrPerformed, ckrReason, isFatal } from './ckr.ts';

describe('CKR table', () => {
  it('has each code and each name once, and goes there and back', () => {
    expect(new Set(CKR_CODES).size).toBe(CKR_CODES.length);
    expect(new Set(CKR_CODES.map(ckrName)).size).toBe(CKR_CODES.length);
    for (const code of CKR_CODES) {
      expect(ckrName(code)).toMatch(/^CKR_[A-Z_]+$/);
      expect(ckr(ckrName(code))).toBe(code);
    }
    expect(() => ckr('CKR_NO_SUCH_CODE')).toThrow(RangeError);
  });

  it('says of every code why, and whether the key may have been used', () => {
    for (const code of CKR_CODES) {
      expect(ckrReason(code)).toMatch(/^[A-Z_]+$/);
      expect(ckrPerformed(code, 'before')).toBe('no');
      expect(['no', 'unknown']).toContain(ckrPerformed(code, 'run'));
    }
  });

  it.each([
    ['CKR_PIN_INCORRECT', 'TOKEN_LOGIN_BLOCKED'],
    ['CKR_PIN_LOCKED', 'TOKEN_LOGIN_BLOCKED'],
    ['CKR_ENCRYPTED_DATA_INVALID', 'CIPHERTEXT_REJECTED'],
    ['CKR_ENCRYPTED_DATA_LEN_RANGE', 'CIPHERTEXT_REJECTED'],
    ['CKR_DATA_LEN_RANGE', 'REQUEST_INVALID'],
    ['CKR_KEY_FUNCTION_NOT_PERMITTED', 'KEY_UNUSABLE'],
    ['CKR_OBJECT_HANDLE_INVALID', 'KEY_MISSING_ON_TOKEN'],
    ['CKR_SESSION_HANDLE_INVALID', 'SESSION_LOST'],
    ['CKR_SESSION_COUNT', 'SESSION_LIMIT'],
    ['CKR_GENERAL_ERROR', 'TOKEN_UNREACHABLE'],
    ['CKR_CURVE_NOT_SUPPORTED', 'OPERATION_UNSUPPORTED'],
    ['CKR_BUFFER_TOO_SMALL', 'INVARIANT_BROKEN'],
  ])('%s means %s', (name, reason) => {
    expect(ckrReason(ckr(name))).toBe(reason);
  });

  it('takes a failure in the middle for a use, unless the standard rules it out', () => {
    for (const name of [
      'CKR_GENERAL_ERROR',
      'CKR_DEVICE_ERROR',
      'CKR_SESSION_CLOSED',
      'CKR_FUNCTION_CANCELED',
    ]) {
      expect(ckrPerformed(ckr(name), 'run')).toBe('unknown');
    }
    for (const name of [
      'CKR_SESSION_HANDLE_INVALID',
      'CKR_OPERATION_NOT_INITIALIZED',
      'CKR_USER_NOT_LOGGED_IN',
    ]) {
      expect(ckrPerformed(ckr(name), 'run')).toBe('no');
    }
  });

  it('calls vendor codes by number while a double holds them, and an invariant broken', () => {
    expect(ckrName(0x80000012)).toBe('0x80000012');
    expect(ckrName(0xce534351)).toBe('0xce534351');
    expect(ckrName(2 ** 64)).toBe('CKR_VENDOR_DEFINED');
    expect(ckrReason(0x80000012)).toBe('INVARIANT_BROKEN');
    expect(ckrPerformed(0x80000012, 'run')).toBe('unknown');
  });

  it('holds a lost token against the process, a bad request never', () => {
    expect(
      CKR_CODES.filter(isFatal).every((code) =>
        ['TOKEN_UNREACHABLE', 'SESSION_LOST'].includes(ckrReason(code)),
      ),
    ).toBe(true);
    expect(isFatal(ckr('CKR_GENERAL_ERROR'))).toBe(false);
    expect(isFatal(ckr('CKR_DATA_INVALID'))).toBe(false);
  });
});
