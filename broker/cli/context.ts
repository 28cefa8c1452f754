import type { Readable, Writable } from 'node:stream';
import type { SourceIssue } from '../../policy/source-issue.ts';
import type { DoctorOptions, DoctorReport } from './doctor-report.ts';

/** What `lastmile` commands may touch: handed in by main.ts, and by tests. */
export interface CliContext {
  readonly stdout: Writable & { readonly isTTY?: boolean };
  readonly stderr: Writable & { readonly isTTY?: boolean };
  readonly stdin: Readable & { readonly isTTY?: boolean };
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** Runs the broker until it is told to stop. */
  serve(configPath: string): Promise<void>;
  /** What makes certificate profiles of this policy file unusable, where it stands. */
  profileIssues(bytes: Uint8Array, file: string): Promise<readonly SourceIssue[]>;
  /** Goes on with a log that is shorter than what was signed, or knows of another policy in force. The broker must not run. */
  acceptLog(
    configPath: string,
    reason: string,
  ): Promise<{
    readonly leafIndex: number;
    readonly finding: string;
    readonly policy?: string | undefined;
    readonly kept: string;
  }>;
  /** Makes a development instance. */
  init(options: InitOptions): Promise<void>;
  /** Finds out what a PKCS#11 module can do. */
  doctor(options: DoctorOptions): Promise<DoctorReport>;
  /** Shows the product through a real client, on a development instance that it makes if need be. */
  demo(options: DemoOptions): Promise<void>;
}

export interface InitOptions {
  /** Absolute. */
  readonly directory: string;
  /** 0 lets the operating system choose. */
  readonly workloadsPort: number;
  readonly controlPort: number;
}

export interface DemoOptions {
  /** Absolute. */
  readonly directory: string;
  /** Stop after the demonstration instead of serving on. */
  readonly once: boolean;
}

/** What a command ends with; `lastmile --help` lists them. */
export const EXIT = {
  ok: 0,
  /** Refused or failed: the reason is on standard error. */
  failed: 1,
  /** The command line, a file or a profile is wrong; nothing was sent. */
  usage: 2,
  /** No answer: the broker is away, or the answer did not come in time. */
  unreachable: 3,
  /** The answer is there, and it is: no. A signature, MAC, ciphertext, receipt or log does not verify. */
  unverified: 4,
} as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** Ends a command: what failed, what to do next, and with which code. */
export class CliError extends Error {
  override readonly name: string = 'CliError';
  readonly exitCode: ExitCode;
  readonly advice: string | undefined;

  constructor(exitCode: ExitCode, message: string, options: { advice?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.exitCode = exitCode;
    this.advice = options.advice;
  }
}
