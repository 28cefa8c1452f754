import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CommandLine } from '../../test/fakes/command-line.ts';
import type { DoctorReport } from './doctor-report.ts';

const REPORT: DoctorReport = {
  module: '/opt/vendor/lib.so',
  profile: {
    name: 'luna',
    chosen: 'recognised',
    module: 'Thales Luna Network HSM 7',
    tested: 'untested on hardware',
    transport: 'authenticated and encrypted: NTLS',
    pin: 'a password',
    lockout: 'ten in a row',
    sessions: 'safe for threads',
  },
  library: { manufacturer: 'Vendor', description: 'Chrystoki', version: '10.4' },
  tokens: [
    {
      label: 'part\u001b[2Jone',
      serial: '1234',
      manufacturer: 'Vendor',
      model: 'M',
      firmware: '7.8',
      initialised: true,
      pin: 'fine',
      maxSessions: 64,
      mechanisms: [{ name: 'CKM_ECDSA', minKeySize: 112, maxKeySize: 521, uses: ['sign', 'verify'] }],
    },
  ],
  silentSlots: [],
  examined: {
    token: 'one',
    login: 'accepted',
    loginDetail: undefined,
    sessions: { opened: 12, refusedWith: 'CKR_SESSION_COUNT' },
    algorithms: [
      { algorithm: 'ES256', works: true, why: undefined, unexpected: false },
      { algorithm: 'Ed25519', works: false, why: 'C_Sign: CKR_MECHANISM_INVALID', unexpected: true },
    ],
    loads: [{ algorithm: 'ES256', sessions: 4, perSecond: 2000, p50Ms: 2, p99Ms: 9, wrong: 0, failed: 1 }],
    end: 'done',
    endDetail: undefined,
  },
  recommended: 'tokens:\n  - name: one\n',
  findings: ['operations failed under load'],
};

describe('lastmile doctor', () => {
  let terminal: CommandLine;
  beforeAll(async () => {
    terminal = await CommandLine.start();
  });
  afterAll(() => terminal.stop());

  it('hands on what was asked, with paths from where it was called', async () => {
    terminal.doctorReport = REPORT;
    await terminal.run([
      'doctor',
      '--module',
      'lib.so',
      '--env',
      'A=b=c',
      '--pin-file',
      'pin',
      '--sessions',
      '4',
    ]);
    expect(terminal.calls).toEqual([
      {
        doctor: {
          module: join(terminal.cwd, 'lib.so'),
          profile: undefined,
          label: undefined,
          serial: undefined,
          pinFile: join(terminal.cwd, 'pin'),
          directory: terminal.cwd,
          environment: { A: 'b=c' },
          config: undefined,
          sessions: 4,
          measureMs: 1000,
          hangLimitMs: 90_000,
        },
      },
    ]);
  });

  it('shows it to people, whose terminal obeys no label', async () => {
    terminal.doctorReport = REPORT;
    const { code, out } = await terminal.run(['doctor', '--mechanisms']);
    expect(code).toBe(0);
    for (const part of [
      'luna (recognised): Thales Luna Network HSM 7, untested on hardware',
      'part\\u{1b}[2Jone',
      'CKM_ECDSA  112 to 521  sign, verify',
      '12, then CKR_SESSION_COUNT',
      'C_Sign: CKR_MECHANISM_INVALID (the profile says otherwise)',
      '- operations failed under load',
      'For lastmile.yaml:\n\ntokens:\n  - name: one\n',
    ])
      expect(out).toContain(part);
    expect(out).not.toContain('\u001b');
  });

  it('shows it whole to machines', async () => {
    terminal.doctorReport = REPORT;
    const { out } = await terminal.run(['doctor', '--json']);
    expect(JSON.parse(out)).toEqual(JSON.parse(JSON.stringify(REPORT)));
  });

  it.each([
    ['rejected', { login: 'rejected', loginDetail: 'CKR_PIN_INCORRECT' }, 'CKR_PIN_INCORRECT'],
    ['crashed', { end: 'crashed', endDetail: 'trying ES256 (SIGSEGV)' }, 'trying ES256 (SIGSEGV)'],
  ] as const)(
    'fails when the examination was %s, after telling what was found',
    async (_how, change, said) => {
      terminal.doctorReport = { ...REPORT, examined: { ...REPORT.examined!, ...change } };
      const { code, out, err } = await terminal.run(['doctor']);
      expect(code).toBe(1);
      expect(out).toContain('luna');
      expect(err).toContain(said);
    },
  );

  it.each([
    [['--config', 'x.yaml']],
    [['--env', '=x']],
    [['--config', 'x', '--token', 'a', '--module', 'm']],
  ])('refuses %s', async (args) => {
    const { code } = await terminal.run(['doctor', ...args]);
    expect(code).toBe(2);
  });
});
