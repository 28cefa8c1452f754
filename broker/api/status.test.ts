import { describe, expect, it } from 'vitest';
import { AdapterError } from '../../hsm-adapters/adapter.ts';
import { toFailure } from '../keyuse/adapter-failure.ts';
import { Failure, REASONS, type Reason } from '../keyuse/failure.ts';
import { codec } from '../proto/codec.ts';
import { asFailure, codeOf, encodeStatus, wireStatus } from './status.ts';

// google.rpc.Code. Written out once more on purpose: the codes are a contract.
const CODES: Readonly<Record<Reason, number>> = {
  SVID_MISSING: 16,
  SVID_INVALID: 16,
  SVID_EXPIRED: 16,
  SVID_NOT_YET_VALID: 16,
  SVID_UNTRUSTED: 16,
  SVID_FOREIGN_TRUST_DOMAIN: 16,
  CREDENTIAL_FROZEN: 16,
  POLICY_DENIED: 7,
  APPROVAL_REQUIRED: 9,
  RATE_LIMITED: 8,
  REQUEST_INVALID: 3,
  CIPHERTEXT_REJECTED: 3,
  BUSY: 8,
  KEY_UNUSABLE: 9,
  OPERATION_UNSUPPORTED: 12,
  TOKEN_UNREACHABLE: 14,
  TOKEN_LOGIN_BLOCKED: 9,
  AUDIT_UNAVAILABLE: 14,
  AUDIT_INCONSISTENT: 15,
  DEADLINE_EXCEEDED: 4,
  CANCELLED: 1,
  INTERNAL: 13,
};

interface DecodedStatus {
  readonly code: number;
  readonly message: string;
  readonly details: readonly { readonly type_url?: string; readonly typeUrl?: string; value: Uint8Array }[];
}

describe('wire status', () => {
  it.each(REASONS)(
    'of %s has its code, and a detail that names the reason and what was performed',
    (reason) => {
      expect(codeOf(reason)).toBe(CODES[reason]);
      for (const performed of ['no', 'unknown', 'yes'] as const) {
        const failure = new Failure(reason, 'what to do', { performed, metadata: { approval: 'a-1' } });
        const bytes = encodeStatus(wireStatus(failure));
        const status = codec<object, DecodedStatus>('google.rpc.Status').decode(bytes);
        expect([status.code, status.message, status.details.length]).toEqual([
          CODES[reason],
          'what to do',
          1,
        ]);
        const info = codec<object, object>('google.rpc.ErrorInfo').decode(status.details[0]!.value);
        const told = reason === 'CIPHERTEXT_REJECTED' ? 'unknown' : performed;
        expect(info).toMatchObject({
          reason,
          domain: 'lastmile',
          metadata: { performed: told, approval: 'a-1' },
        });
      }
    },
  );

  it('is the same, byte for byte, for every rejected ciphertext', () => {
    const statuses = (['no', 'unknown', 'yes'] as const).map((performed) =>
      encodeStatus(
        wireStatus(
          new Failure('CIPHERTEXT_REJECTED', 'ciphertext rejected', {
            performed,
            cause: new Error(performed),
          }),
        ),
      ).toString('hex'),
    );
    expect(new Set(statuses).size).toBe(1);
  });

  it('lets no metadata pass for what was performed', () => {
    const failure = new Failure('BUSY', 'later', { performed: 'unknown', metadata: { performed: 'no' } });
    const info = codec<object, object>('google.rpc.ErrorInfo').decode(wireStatus(failure).details[0]!.value);
    expect(info).toMatchObject({ metadata: { performed: 'unknown' } });
  });

  it('knows no OK and no UNKNOWN, UNAUTHENTICATED from identity alone, PERMISSION_DENIED from policy alone', () => {
    for (const reason of REASONS) {
      expect([0, 2]).not.toContain(codeOf(reason));
      expect(codeOf(reason) === 16).toBe(/^(SVID|CREDENTIAL)_/.test(reason));
      expect(codeOf(reason) === 7).toBe(reason === 'POLICY_DENIED');
    }
  });

  it.each([0, 2, 5, 7, 16])(
    'takes no gRPC code out of an error that has the number %i as its code',
    (code) => {
      const foreign = Object.assign(new Error('CKR_SOMETHING'), { code });
      for (const failure of [asFailure(foreign), toFailure(foreign)]) {
        expect(wireStatus(failure)).toMatchObject({ code: 13, message: 'internal error' });
        expect(encodeStatus(wireStatus(failure)).toString('latin1')).not.toContain('CKR_');
      }
    },
  );

  it('keeps the name of a CKR from the caller', () => {
    const error = new AdapterError('TOKEN_UNREACHABLE', 'CKR_DEVICE_ERROR in C_Sign', {
      performed: 'unknown',
      ckr: 'CKR_DEVICE_ERROR',
    });
    const bytes = encodeStatus(wireStatus(toFailure(error)));
    expect(bytes.toString('latin1')).not.toMatch(/CKR_|C_Sign/);
  });
});
