import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { entryUrl } from '../../hsm-adapters/frames/isolation.ts';
import { CliError, type DemoOptions, EXIT } from '../cli/context.ts';
import { hasInstance } from '../init/instance.ts';
import { writeClientProfiles } from '../init/renew.ts';
import { createLog, type Log } from '../telemetry/log.ts';
import { makeDevelopmentInstance } from './development.ts';
import { signalled, startServing } from './serve.ts';

/** What the demonstration says of itself is enough; what goes wrong is told in full. */
function warningsOnly(): Log {
  const log = createLog();
  return (level, message, fields) => level === 'info' || log(level, message, fields);
}

/**
 * `npm start`: makes a development instance if there is none, serves it, and has a client of its own show what it
 * is for. With `once` it stops after that.
 *
 * @throws CliError when a step of the demonstration did not hold
 */
export async function demonstrate(options: DemoOptions, stdout: NodeJS.WritableStream): Promise<void> {
  const log = warningsOnly();
  const { directory } = options;
  const shown = relative(process.cwd(), directory) || '.';
  if (!(await hasInstance(directory))) {
    stdout.write(
      `Making a development instance in ${shown}: certificates, two SoftHSM2 tokens, keys on both\n`,
    );
    await makeDevelopmentInstance({ directory, workloadsPort: 0, controlPort: 0 }, log);
  }
  const stopped = signalled(['SIGTERM', 'SIGINT']);
  const serving = await startServing(join(directory, 'lastmile.yaml'), log);
  let isRight = false;
  try {
    stdout.write(`Lastmile serves workloads on ${serving.workloads}, operators on ${serving.control}\n`);
    for (const warning of serving.core.warnings()) stdout.write(`  note  ${warning}\n`);
    await writeClientProfiles(directory, {
      workloadsPort: portOf(serving.workloads),
      controlPort: portOf(serving.control),
    });
    const client = spawn(process.execPath, [fileURLToPath(entryUrl('broker/main/demo-client')), directory], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    client.stdout.pipe(stdout, { end: false });
    const [code] = (await once(client, 'close')) as [number | null];
    isRight = code === 0;
    stdout.write(isRight ? '\nEvery step held.\n' : '\nA step did not hold: see FAIL above.\n');
    if (!options.once && isRight) {
      stdout.write(nextSteps(shown));
      await stopped;
    }
  } finally {
    await serving.stop();
  }
  if (!isRight) throw new CliError(EXIT.failed, 'the demonstration failed');
}

function nextSteps(directory: string): string {
  const instance = directory === '.lastmile' ? '' : ` --instance ${directory}`;
  const run = (command: string): string => `  npx lastmile ${command}${instance}\n`;
  return [
    '\nServing until Ctrl-C. In a second terminal, in this directory:\n\n',
    run('sign payments/jwt README.md --algorithm ES256 --as payments --encoding base64'),
    run('encrypt payments/data README.md --out README.sealed --as payments'),
    run('decrypt payments/data README.sealed --as payments | head -3'),
    run('status'),
    run('audit list --as auditor'),
    run('audit verify --as auditor'),
    run('freeze workload spiffe://example.org/ns/payments/sa/api --reason "trying it"'),
    run('unfreeze workload spiffe://example.org/ns/payments/sa/api --reason "enough"'),
    '\n',
  ].join('');
}

function portOf(address: string): number {
  return Number(address.slice(address.lastIndexOf(':') + 1));
}
