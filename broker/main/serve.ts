import { loadConfig } from '../config.ts';
import { InitError } from '../init/init-error.ts';
import { renewSvids, writeClientProfiles } from '../init/renew.ts';
import { createLog, type Log } from '../telemetry/log.ts';
import { type Core, openCore } from './broker.ts';
import { type Listening, listen } from './listening.ts';
import { keepHeapModest } from './modest-heap.ts';

export interface Serving extends Listening {
  readonly core: Core;
}

/** Starts everything; resolves when requests are taken. */
export async function startServing(configPath: string, log: Log = createLog()): Promise<Serving> {
  const config = loadConfig(configPath);
  if (config.profile === 'development') await renew(config.directory, log);
  const core = await openCore(config, log);
  try {
    await core.announce();
    const listening = await listen(core, log);
    core.policy.startWatching();
    if (
      config.profile === 'development' &&
      (config.listen.workloads.port === 0 || config.listen.control.port === 0)
    ) {
      await writeClientProfiles(config.directory, {
        workloadsPort: portOf(listening.workloads),
        controlPort: portOf(listening.control),
      });
    }
    return {
      ...listening,
      core,
      stop: async () => {
        await listening.stop();
        await core.close();
      },
    };
  } catch (error) {
    await core.close();
    throw error;
  }
}

/** An instance that `init` made keeps its certificates fresh; anybody else's are left alone. */
async function renew(directory: string, log: Log): Promise<void> {
  try {
    const renewed = await renewSvids(directory);
    if (renewed.length > 0) log('info', 'development X.509-SVIDs renewed', { names: renewed.join(' ') });
  } catch (error) {
    if (!(error instanceof InitError)) throw error;
  }
}

/** `lastmile serve`: runs until SIGTERM or SIGINT; SIGHUP reads the policy again. */
export async function serve(configPath: string, stdout: { write(text: string): unknown }): Promise<void> {
  keepHeapModest(process);
  const log = createLog();
  const stopped = signalled(['SIGTERM', 'SIGINT']);
  const serving = await startServing(configPath, log);
  const onHangUp = (): void => {
    serving.core.policy
      .reload()
      .catch((error: unknown) => log('error', 'policy not reloaded', { error: String(error) }));
  };
  process.on('SIGHUP', onHangUp);
  for (const warning of serving.core.warnings()) log('warn', warning);
  stdout.write(
    `${JSON.stringify({ serving: { workloads: serving.workloads, control: serving.control, pages: serving.pages } })}\n`,
  );
  await stopped;
  process.off('SIGHUP', onHangUp);
  await serving.stop();
}

/** Resolves at the first of them; a second one ends the process at once, as without us. */
export function signalled(signals: readonly NodeJS.Signals[]): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    const handler = (signal: NodeJS.Signals): void => {
      for (const name of signals) process.off(name, handler);
      resolve(signal);
    };
    for (const name of signals) process.on(name, handler);
  });
}

function portOf(address: string): number {
  return Number(address.slice(address.lastIndexOf(':') + 1));
}
