import type { AdapterReason, Performed } from '../adapter.ts';

/** Where in an operation a code came up: `before` is C_*Init or anything earlier, `run` the call that uses the key. */
export type CallPhase = 'before' | 'run';

interface CkrMeaning {
  readonly name: string;
  readonly reason: AdapterReason;
  /**
   * By the standard's wording the module finds this out before it does anything with the key
   * (OASIS PKCS#11 v3.1, section 5.1): the operation provably did not run, even when the code comes from it.
   */
  readonly beforeUse: boolean;
}

type Row = readonly [code: number, name: string, reason: AdapterReason, beforeUse?: 'before-use'];

const ROWS: readonly Row[] = [
  [0x1, 'CKR_CANCEL', 'TOKEN_UNREACHABLE'],
  [0x2, 'CKR_HOST_MEMORY', 'SESSION_LIMIT'],
  [0x3, 'CKR_SLOT_ID_INVALID', 'TOKEN_UNREACHABLE', 'before-use'],
  [0x5, 'CKR_GENERAL_ERROR', 'TOKEN_UNREACHABLE'],
  [0x6, 'CKR_FUNCTION_FAILED', 'TOKEN_UNREACHABLE'],
  [0x7, 'CKR_ARGUMENTS_BAD', 'INVARIANT_BROKEN'],
  [0x8, 'CKR_NO_EVENT', 'INVARIANT_BROKEN'],
  [0x9, 'CKR_NEED_TO_CREATE_THREADS', 'INVARIANT_BROKEN'],
  [0xa, 'CKR_CANT_LOCK', 'TOKEN_UNREACHABLE'],
  [0x10, 'CKR_ATTRIBUTE_READ_ONLY', 'INVARIANT_BROKEN'],
  [0x11, 'CKR_ATTRIBUTE_SENSITIVE', 'INVARIANT_BROKEN'],
  [0x12, 'CKR_ATTRIBUTE_TYPE_INVALID', 'INVARIANT_BROKEN'],
  [0x13, 'CKR_ATTRIBUTE_VALUE_INVALID', 'INVARIANT_BROKEN'],
  [0x1b, 'CKR_ACTION_PROHIBITED', 'KEY_UNUSABLE'],
  [0x20, 'CKR_DATA_INVALID', 'REQUEST_INVALID'],
  [0x21, 'CKR_DATA_LEN_RANGE', 'REQUEST_INVALID'],
  [0x30, 'CKR_DEVICE_ERROR', 'TOKEN_UNREACHABLE'],
  [0x31, 'CKR_DEVICE_MEMORY', 'SESSION_LIMIT'],
  [0x32, 'CKR_DEVICE_REMOVED', 'TOKEN_UNREACHABLE'],
  [0x40, 'CKR_ENCRYPTED_DATA_INVALID', 'CIPHERTEXT_REJECTED'],
  [0x41, 'CKR_ENCRYPTED_DATA_LEN_RANGE', 'CIPHERTEXT_REJECTED'],
  [0x42, 'CKR_AEAD_DECRYPT_FAILED', 'CIPHERTEXT_REJECTED'],
  [0x50, 'CKR_FUNCTION_CANCELED', 'TOKEN_UNREACHABLE'],
  [0x51, 'CKR_FUNCTION_NOT_PARALLEL', 'INVARIANT_BROKEN'],
  [0x54, 'CKR_FUNCTION_NOT_SUPPORTED', 'OPERATION_UNSUPPORTED', 'before-use'],
  [0x60, 'CKR_KEY_HANDLE_INVALID', 'KEY_MISSING_ON_TOKEN', 'before-use'],
  [0x62, 'CKR_KEY_SIZE_RANGE', 'KEY_UNUSABLE'],
  [0x63, 'CKR_KEY_TYPE_INCONSISTENT', 'KEY_UNUSABLE', 'before-use'],
  [0x64, 'CKR_KEY_NOT_NEEDED', 'INVARIANT_BROKEN'],
  [0x65, 'CKR_KEY_CHANGED', 'INVARIANT_BROKEN'],
  [0x66, 'CKR_KEY_NEEDED', 'INVARIANT_BROKEN'],
  [0x67, 'CKR_KEY_INDIGESTIBLE', 'INVARIANT_BROKEN'],
  [0x68, 'CKR_KEY_FUNCTION_NOT_PERMITTED', 'KEY_UNUSABLE', 'before-use'],
  [0x69, 'CKR_KEY_NOT_WRAPPABLE', 'OPERATION_UNSUPPORTED', 'before-use'],
  [0x6a, 'CKR_KEY_UNEXTRACTABLE', 'KEY_UNUSABLE', 'before-use'],
  [0x70, 'CKR_MECHANISM_INVALID', 'KEY_UNUSABLE', 'before-use'],
  [0x71, 'CKR_MECHANISM_PARAM_INVALID', 'KEY_UNUSABLE'],
  [0x82, 'CKR_OBJECT_HANDLE_INVALID', 'KEY_MISSING_ON_TOKEN', 'before-use'],
  [0x90, 'CKR_OPERATION_ACTIVE', 'SESSION_LOST', 'before-use'],
  [0x91, 'CKR_OPERATION_NOT_INITIALIZED', 'SESSION_LOST', 'before-use'],
  [0xa0, 'CKR_PIN_INCORRECT', 'TOKEN_LOGIN_BLOCKED', 'before-use'],
  [0xa1, 'CKR_PIN_INVALID', 'TOKEN_LOGIN_BLOCKED', 'before-use'],
  [0xa2, 'CKR_PIN_LEN_RANGE', 'TOKEN_LOGIN_BLOCKED', 'before-use'],
  [0xa3, 'CKR_PIN_EXPIRED', 'TOKEN_LOGIN_BLOCKED', 'before-use'],
  [0xa4, 'CKR_PIN_LOCKED', 'TOKEN_LOGIN_BLOCKED', 'before-use'],
  [0xb0, 'CKR_SESSION_CLOSED', 'SESSION_LOST'],
  [0xb1, 'CKR_SESSION_COUNT', 'SESSION_LIMIT', 'before-use'],
  [0xb3, 'CKR_SESSION_HANDLE_INVALID', 'SESSION_LOST', 'before-use'],
  [0xb4, 'CKR_SESSION_PARALLEL_NOT_SUPPORTED', 'INVARIANT_BROKEN'],
  [0xb5, 'CKR_SESSION_READ_ONLY', 'INVARIANT_BROKEN', 'before-use'],
  [0xb6, 'CKR_SESSION_EXISTS', 'INVARIANT_BROKEN'],
  [0xb7, 'CKR_SESSION_READ_ONLY_EXISTS', 'INVARIANT_BROKEN'],
  [0xb8, 'CKR_SESSION_READ_WRITE_SO_EXISTS', 'INVARIANT_BROKEN'],
  [0xc0, 'CKR_SIGNATURE_INVALID', 'INVARIANT_BROKEN'],
  [0xc1, 'CKR_SIGNATURE_LEN_RANGE', 'INVARIANT_BROKEN'],
  [0xd0, 'CKR_TEMPLATE_INCOMPLETE', 'INVARIANT_BROKEN'],
  [0xd1, 'CKR_TEMPLATE_INCONSISTENT', 'INVARIANT_BROKEN'],
  [0xe0, 'CKR_TOKEN_NOT_PRESENT', 'TOKEN_UNREACHABLE', 'before-use'],
  [0xe1, 'CKR_TOKEN_NOT_RECOGNIZED', 'TOKEN_UNREACHABLE', 'before-use'],
  [0xe2, 'CKR_TOKEN_WRITE_PROTECTED', 'OPERATION_UNSUPPORTED', 'before-use'],
  [0xf0, 'CKR_UNWRAPPING_KEY_HANDLE_INVALID', 'KEY_MISSING_ON_TOKEN', 'before-use'],
  [0xf1, 'CKR_UNWRAPPING_KEY_SIZE_RANGE', 'KEY_UNUSABLE'],
  [0xf2, 'CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT', 'KEY_UNUSABLE', 'before-use'],
  [0x100, 'CKR_USER_ALREADY_LOGGED_IN', 'INVARIANT_BROKEN', 'before-use'],
  [0x101, 'CKR_USER_NOT_LOGGED_IN', 'SESSION_LOST', 'before-use'],
  [0x102, 'CKR_USER_PIN_NOT_INITIALIZED', 'TOKEN_LOGIN_BLOCKED', 'before-use'],
  [0x103, 'CKR_USER_TYPE_INVALID', 'INVARIANT_BROKEN'],
  [0x104, 'CKR_USER_ANOTHER_ALREADY_LOGGED_IN', 'INVARIANT_BROKEN'],
  [0x105, 'CKR_USER_TOO_MANY_TYPES', 'INVARIANT_BROKEN'],
  [0x110, 'CKR_WRAPPED_KEY_INVALID', 'REQUEST_INVALID'],
  [0x112, 'CKR_WRAPPED_KEY_LEN_RANGE', 'REQUEST_INVALID'],
  [0x113, 'CKR_WRAPPING_KEY_HANDLE_INVALID', 'KEY_MISSING_ON_TOKEN', 'before-use'],
  [0x114, 'CKR_WRAPPING_KEY_SIZE_RANGE', 'KEY_UNUSABLE'],
  [0x115, 'CKR_WRAPPING_KEY_TYPE_INCONSISTENT', 'KEY_UNUSABLE', 'before-use'],
  [0x120, 'CKR_RANDOM_SEED_NOT_SUPPORTED', 'OPERATION_UNSUPPORTED', 'before-use'],
  [0x121, 'CKR_RANDOM_NO_RNG', 'TOKEN_UNREACHABLE', 'before-use'],
  [0x130, 'CKR_DOMAIN_PARAMS_INVALID', 'OPERATION_UNSUPPORTED'],
  [0x140, 'CKR_CURVE_NOT_SUPPORTED', 'OPERATION_UNSUPPORTED', 'before-use'],
  [0x150, 'CKR_BUFFER_TOO_SMALL', 'INVARIANT_BROKEN'],
  [0x160, 'CKR_SAVED_STATE_INVALID', 'INVARIANT_BROKEN'],
  [0x170, 'CKR_INFORMATION_SENSITIVE', 'INVARIANT_BROKEN'],
  [0x180, 'CKR_STATE_UNSAVEABLE', 'INVARIANT_BROKEN'],
  [0x190, 'CKR_CRYPTOKI_NOT_INITIALIZED', 'TOKEN_UNREACHABLE', 'before-use'],
  [0x191, 'CKR_CRYPTOKI_ALREADY_INITIALIZED', 'INVARIANT_BROKEN', 'before-use'],
  [0x1a0, 'CKR_MUTEX_BAD', 'INVARIANT_BROKEN'],
  [0x1a1, 'CKR_MUTEX_NOT_LOCKED', 'INVARIANT_BROKEN'],
  [0x1b0, 'CKR_NEW_PIN_MODE', 'TOKEN_LOGIN_BLOCKED', 'before-use'],
  [0x1b1, 'CKR_NEXT_OTP', 'TOKEN_LOGIN_BLOCKED', 'before-use'],
  [0x1b5, 'CKR_EXCEEDED_MAX_ITERATIONS', 'INVARIANT_BROKEN'],
  [0x1b6, 'CKR_FIPS_SELF_TEST_FAILED', 'TOKEN_UNREACHABLE', 'before-use'],
  [0x1b7, 'CKR_LIBRARY_LOAD_FAILED', 'TOKEN_UNREACHABLE', 'before-use'],
  [0x1b8, 'CKR_PIN_TOO_WEAK', 'TOKEN_LOGIN_BLOCKED', 'before-use'],
  [0x1b9, 'CKR_PUBLIC_KEY_INVALID', 'REQUEST_INVALID'],
  [0x200, 'CKR_FUNCTION_REJECTED', 'KEY_UNUSABLE'],
  [0x201, 'CKR_TOKEN_RESOURCE_EXCEEDED', 'SESSION_LIMIT'],
  [0x202, 'CKR_OPERATION_CANCEL_FAILED', 'SESSION_LOST'],
  [0x203, 'CKR_KEY_EXHAUSTED', 'KEY_UNUSABLE'],
];

const MEANINGS: ReadonlyMap<number, CkrMeaning> = new Map(
  ROWS.map(([code, name, reason, beforeUse]) => [
    code,
    { name, reason, beforeUse: beforeUse === 'before-use' },
  ]),
);

const CODES: ReadonlyMap<string, number> = new Map(ROWS.map(([code, name]) => [name, code]));

/** Every code of the standard that this worker can name, CKR_OK excepted. */
export const CKR_CODES: readonly number[] = ROWS.map(([code]) => code);

/** The number of a CKR_ name. Throws for a name that the table does not have: a misspelt row must not pass. */
export function ckr(name: string): number {
  const code = CODES.get(name);
  if (code === undefined) throw new RangeError(`no such code: \`${name}\``);
  return code;
}

/** The standard's name, or the number in hex for vendor codes and codes that no table lists. */
export function ckrName(code: number): string {
  const known = MEANINGS.get(code);
  if (known !== undefined) return known.name;
  // pkcs11js hands codes over as doubles: above 2^53 the low digits are gone, and a wrong number is worse than none.
  if (!Number.isSafeInteger(code)) return 'CKR_VENDOR_DEFINED';
  return `0x${code.toString(16).padStart(8, '0')}`;
}

export function ckrReason(code: number): AdapterReason {
  return MEANINGS.get(code)?.reason ?? 'INVARIANT_BROKEN';
}

export function ckrPerformed(code: number, phase: CallPhase): Performed {
  if (phase === 'before') return 'no';
  return MEANINGS.get(code)?.beforeUse === true ? 'no' : 'unknown';
}

/**
 * Codes after which nothing in this process can work any more: the library or the token is gone, or the login
 * that all sessions share. Only a new worker helps.
 */
const FATAL: ReadonlySet<number> = new Set(
  [
    'CKR_SLOT_ID_INVALID',
    'CKR_DEVICE_ERROR',
    'CKR_DEVICE_REMOVED',
    'CKR_TOKEN_NOT_PRESENT',
    'CKR_TOKEN_NOT_RECOGNIZED',
    'CKR_USER_NOT_LOGGED_IN',
    'CKR_CRYPTOKI_NOT_INITIALIZED',
    'CKR_FIPS_SELF_TEST_FAILED',
    'CKR_LIBRARY_LOAD_FAILED',
  ].map(ckr),
);

export function isFatal(code: number): boolean {
  return FATAL.has(code);
}
