import { spawn } from 'node:child_process';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import type { PinReference } from '../adapter.ts';
import type { WorkerStart } from '../frames/worker-frames.ts';

/** How a worker gets at the PIN. The PIN itself never enters the broker. */
export interface PinSource {
  /** What the login ledger calls it. The same string for the same configuration, over restarts. */
  readonly reference: string;
  readonly start: WorkerStart['pin'];
  /** Granted to the worker for reading. */
  readonly file: string | undefined;
  /** Runs the command, its standard output being the worker's descriptor 5. */
  readonly wire: ((parentEnd: Duplex) => void) | undefined;
}

/** Throws when the configuration asks for a systemd credential that this process was not given. */
export function pinSource(
  reference: PinReference,
  log: (line: string) => void,
  credentialsDirectory: string | undefined = process.env.CREDENTIALS_DIRECTORY,
): PinSource {
  switch (reference.kind) {
    case 'file':
      return fromFile(`file:${reference.path}`, reference.path);
    case 'credential': {
      if (credentialsDirectory === undefined || credentialsDirectory === '') {
        throw new Error(
          `PIN \`${reference.name}\`: no systemd credentials here; add LoadCredential= to the unit`,
        );
      }
      if (!/^[\w.-]+$/.test(reference.name) || /^\.+$/.test(reference.name)) {
        throw new Error(`PIN \`${reference.name}\`: not the name of a systemd credential`);
      }
      return fromFile(`credential:${reference.name}`, join(credentialsDirectory, reference.name));
    }
    case 'command': {
      const { argv } = reference;
      if (argv.length === 0) throw new Error('PIN: the command is empty');
      return {
        reference: `command:${JSON.stringify(argv)}`,
        start: { descriptor: 5 },
        file: undefined,
        wire: (parentEnd) => runPinCommand(argv, parentEnd, log),
      };
    }
    default:
      return reference satisfies never;
  }
}

function fromFile(reference: string, file: string): PinSource {
  return { reference, start: { file }, file, wire: undefined };
}

const PIN_COMMAND_LIMIT_MS = 30_000;

/**
 * No shell; a fixed search path as the whole environment. Its standard error goes nowhere: commands that fail like
 * to print what they were working on.
 */
function runPinCommand(argv: readonly string[], output: Duplex, log: (line: string) => void): void {
  const [program = '', ...rest] = argv;
  const command = spawn(program, rest, {
    cwd: '/',
    env: { PATH: '/usr/local/bin:/usr/bin:/bin' },
    stdio: ['ignore', output, 'ignore'],
    timeout: PIN_COMMAND_LIMIT_MS,
    killSignal: 'SIGKILL',
  });
  command.once('error', (error) => log(`PIN command \`${program}\`: ${error.message}`));
  command.once('exit', (code, signal) => {
    if (code !== 0) log(`PIN command \`${program}\` ended with ${signal ?? `code ${code}`}`);
  });
}
