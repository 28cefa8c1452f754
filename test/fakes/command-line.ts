import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import type { CliContext } from '../../broker/cli/context.ts';
import type { DoctorReport } from '../../broker/cli/doctor-report.ts';
import { runCli } from '../../broker/cli/program.ts';
import { FakeBroker } from './fake-broker.ts';
import { SvidIssuer } from './svid-files.ts';

const BROKER = 'spiffe://example.org/lastmile/broker';
const PROFILES = {
  payments: 'spiffe://example.org/ns/payments/sa/api',
  billing: 'spiffe://example.org/ns/billing/sa/invoices',
  operator: 'spiffe://example.org/human/operator',
} as const;

export interface Outcome {
  readonly code: number;
  readonly stdout: Buffer;
  readonly out: string;
  readonly err: string;
}

/** A person at a terminal in an empty directory, with an instance in it and a fake broker behind its profiles. */
export class CommandLine {
  readonly broker: FakeBroker;
  readonly cwd: string;
  /** What `serve`, `init` and `demo` were called with. */
  readonly calls: unknown[] = [];
  /** What `doctor` finds. */
  doctorReport: DoctorReport | undefined;
  /** The last request that an answer of `answers` was given to. */
  seen: Record<string, unknown> | undefined;

  private constructor(broker: FakeBroker, cwd: string) {
    this.broker = broker;
    this.cwd = cwd;
  }

  static async start(): Promise<CommandLine> {
    const cwd = mkdtempSync(join(tmpdir(), 'command-line-'));
    const issuer = await SvidIssuer.create();
    const broker = await FakeBroker.start(await issuer.issue(BROKER), issuer.certificate);
    const instance = join(cwd, '.lastmile');
    for (const directory of ['client', 'pki']) mkdirSync(join(instance, directory), { recursive: true });
    writeFileSync(join(instance, 'pki/ca.crt'), issuer.certificate);
    for (const [name, spiffeId] of Object.entries(PROFILES)) {
      const svid = await issuer.issue(spiffeId);
      writeFileSync(join(instance, `pki/${name}.crt`), svid.certificate);
      writeFileSync(join(instance, `pki/${name}.key`), svid.key);
      const profile = {
        target: broker.target,
        control: broker.target,
        brokerId: BROKER,
        brokerDnsName: 'lastmile.internal',
        certificate: `pki/${name}.crt`,
        key: `pki/${name}.key`,
        trustBundle: 'pki/ca.crt',
      };
      writeFileSync(join(instance, `client/${name}.json`), JSON.stringify(profile));
    }
    return new CommandLine(broker, cwd);
  }

  /** Has the broker answer every call of a method with `response`, and notes what it was asked. */
  answers(method: string, response: Record<string, unknown>): void {
    this.broker.answers.set(method, (request) => {
      this.seen = { ...request };
      return response;
    });
  }

  /** So that a test has the answers that it set itself, and sees its own requests alone. */
  forgetWhatWas(): void {
    this.broker.answers.clear();
    this.seen = undefined;
  }

  path(name: string): string {
    return join(this.cwd, name);
  }

  async run(
    argv: readonly string[],
    options: { stdin?: Uint8Array; isTTY?: boolean; env?: Record<string, string> } = {},
  ): Promise<Outcome> {
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    const context: CliContext = {
      stdout: Object.assign(collector(out), { isTTY: options.isTTY === true }),
      stderr: collector(err),
      stdin: Readable.from(options.stdin === undefined ? [] : [options.stdin]),
      env: options.env ?? {},
      cwd: this.cwd,
      profileIssues: async () => [],
      serve: async (config) => void this.calls.push({ serve: config }),
      init: async (given) => void this.calls.push({ init: given }),
      acceptLog: async (config, reason) => {
        this.calls.push({ acceptLog: config, reason });
        return { leafIndex: 7, finding: 'the log has 6 entries, 9 were signed', kept: '/kept' };
      },
      demo: async (given) => void this.calls.push({ demo: given }),
      doctor: async (given) => {
        this.calls.push({ doctor: given });
        return this.doctorReport ?? Promise.reject(new Error('no report for `doctor` was prepared'));
      },
    };
    const code = await runCli(context, argv);
    const stdout = Buffer.concat(out);
    return { code, stdout, out: stdout.toString(), err: Buffer.concat(err).toString() };
  }

  async stop(): Promise<void> {
    await this.broker.stop();
    rmSync(this.cwd, { recursive: true });
  }
}

function collector(pieces: Buffer[]): Writable {
  return new Writable({
    write(chunk: Buffer, _encoding, done) {
      pieces.push(Buffer.from(chunk));
      done();
    },
  });
}
