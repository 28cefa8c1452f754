import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { DoctorFinding } from '../frames/doctor-frames.ts';
import { generic } from '../profiles/generic.ts';
import { suggestProfile } from '../profiles/suggest.ts';
import { ckr } from './ckr.ts';
import { CKF } from './constants.ts';
import { CkrError, type Cryptoki } from './cryptoki.ts';
import { examine } from './examination.ts';
import { Pin } from './login.ts';
import type { FoundToken } from './token.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'lastmile-examination-'));
  writeFileSync(join(directory, 'pin'), '1234\n');
});
afterEach(() => rmSync(directory, { recursive: true }));

/** A token that answers C_Login as told, and nothing else. */
async function loginsAt(flags: number, answer?: string) {
  const logins: string[] = [];
  const cryptoki = {
    openSession: () => Buffer.alloc(8),
    login: (_session: Buffer, _user: number, pin: string) => {
      logins.push(pin);
      throw new CkrError(ckr(answer ?? 'CKR_PIN_INCORRECT'), 'C_Login');
    },
  } as unknown as Cryptoki;
  const findings: DoctorFinding[] = [];
  await examine({
    cryptoki,
    token: { slot: Buffer.alloc(8), raw: { flags } } as unknown as FoundToken,
    profile: generic,
    order: {
      part: 'examination',
      module: '/m.so',
      profile: 'generic',
      pin: { file: join(directory, 'pin') },
      sessions: 4,
      measureMs: 10,
    },
    pin: Pin.read({ file: join(directory, 'pin') }),
    tell: (finding) => findings.push(finding),
  });
  return { logins, login: findings.find((finding) => finding.kind === 'login') };
}

describe('the PIN of a token that is only looked at', () => {
  it('is tried once, and nothing else after it was wrong', async () => {
    const { logins, login } = await loginsAt(CKF.TOKEN_INITIALIZED);
    expect(logins).toEqual(['1234']);
    expect(login).toEqual({ kind: 'login', outcome: 'rejected', why: 'CKR_PIN_INCORRECT' });
  });

  it.each([
    ['locked', CKF.USER_PIN_LOCKED],
    ['one more', CKF.USER_PIN_FINAL_TRY],
  ])('is not tried where it could do harm: %s', async (why, flag) => {
    const { logins, login } = await loginsAt(CKF.TOKEN_INITIALIZED | flag);
    expect(logins).toEqual([]);
    expect(login).toMatchObject({ outcome: 'not-tried', why: expect.stringContaining(why) });
  });
});

describe('what a module says about itself', () => {
  it.each([
    ['softhsm2', 'SoftHSM', 'Implementation of PKCS11', '/usr/lib/softhsm/libsofthsm2.so'],
    ['nss', 'Mozilla Foundation', 'NSS Internal Crypto Services', '/usr/lib/libsoftokn3.so'],
    ['opencryptoki', 'IBM', 'openCryptoki', '/usr/lib/pkcs11/libopencryptoki.so'],
    ['tpm2', 'tpm2-software.github.io', 'TPM2.0 Cryptoki', '/usr/lib/libtpm2_pkcs11.so.1'],
    ['p11-kit', 'PKCS#11 Kit', 'PKCS#11 Kit Proxy Module', '/usr/lib/pkcs11/p11-kit-client.so'],
    ['cloudhsm', 'Marvell Semiconductors, Inc.', '', '/opt/cloudhsm/lib/libcloudhsm_pkcs11.so'],
    ['luna', 'SafeNet', 'Chrystoki', '/usr/safenet/lunaclient/lib/libCryptoki2_64.so'],
    ['nshield', 'nCipher Corp. Ltd', 'nCipher PKCS#11', '/opt/nfast/toolkits/pkcs11/libcknfast.so'],
    ['generic', 'Somebody', 'Something', '/opt/x.so'],
  ])('is recognised as %s', (profile, manufacturer, library, path) => {
    expect(suggestProfile({ manufacturer, library, path })).toBe(profile);
  });
});
