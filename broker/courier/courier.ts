import { readFileSync } from 'node:fs';
import { connectToParent, dropPrivileges, readChildArguments } from '../../hsm-adapters/frames/child-side.ts';
import { type CourierConfiguration, CourierFrame, type Destination } from './courier-frames.ts';
import { Dispatcher } from './dispatcher.ts';
import { runHook } from './hook.ts';
import { type Notice, readNotice } from './notice.ts';
import { Queue } from './queue.ts';
import { postWebhook, readSecrets, type Secret } from './webhook.ts';

/**
 * The courier: the only process of Lastmile that calls out. It knows its destinations and their secrets, and notices;
 * no PIN, no key, no policy, and nothing that it is answered comes back to the broker but whether it was taken.
 *
 * Its working directory is its queue: it becomes a user that owns that directory and may not pass through those above.
 */
const { user } = readChildArguments();
let dispatcher: Dispatcher | undefined;
let queue: Queue | undefined;

const channel = connectToParent({
  frame(type, id, payload) {
    switch (type) {
      case CourierFrame.Configure:
        configure(JSON.parse(payload.toString('utf8')) as CourierConfiguration);
        return;
      case CourierFrame.Tell:
        tell(id, readNotice(payload.toString('utf8')));
        return;
      default:
        throw new Error(`unexpected frame of type ${type}`);
    }
  },
  closed() {
    // connectToParent ends the process: what is queued is on disk.
  },
});

interface Credentials {
  readonly secrets: readonly Secret[];
  readonly ca: string | undefined;
}

function configure(configuration: CourierConfiguration): void {
  const credentials = new Map<string, Credentials>();
  try {
    for (const destination of configuration.destinations) {
      if (destination.kind === 'webhook') credentials.set(destination.name, readCredentials(destination));
    }
    dropPrivileges(user);
    start(configuration, credentials);
  } catch (error) {
    channel.send(CourierFrame.Failed, 0, Buffer.from(error instanceof Error ? error.message : String(error)));
    channel.end();
  }
}

function readCredentials({
  name,
  secretFile,
  caFile,
}: Extract<Destination, { kind: 'webhook' }>): Credentials {
  try {
    return {
      secrets: readSecrets(readFileSync(secretFile, 'utf8')),
      ca: caFile === undefined ? undefined : readFileSync(caFile, 'utf8'),
    };
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    throw new Error(`destination ${name}: ${secretFile} ${code ?? message}`, { cause });
  }
}

function start(configuration: CourierConfiguration, credentials: ReadonlyMap<string, Credentials>): void {
  const opened = new Queue(configuration.maxQueued, Date.now);
  const { deliveries, unreadable } = opened.open();
  queue = opened;
  dispatcher = new Dispatcher({
    configuration,
    queue: opened,
    deliver: (destination, notice) => {
      if (destination.kind === 'hook') return runHook(destination, notice);
      const { secrets = [], ca } = credentials.get(destination.name) ?? {};
      return postWebhook(destination, secrets, ca, notice, Date.now());
    },
    outcome: (outcome) =>
      channel.send(CourierFrame.Outcome, opened.size, Buffer.from(JSON.stringify(outcome))),
    now: Date.now,
    after: (ms, run) => setTimeout(run, ms),
    random: Math.random,
  });
  channel.send(CourierFrame.Ready, 0, Buffer.from(JSON.stringify({ queued: deliveries.length })));
  for (const file of unreadable) {
    const outcome = { destination: file, notice: '', what: 'unreadable', attempts: 0 };
    channel.send(CourierFrame.Outcome, opened.size, Buffer.from(JSON.stringify(outcome)));
  }
  dispatcher.resume(deliveries);
}

function tell(id: number, notice: Notice): void {
  if (dispatcher === undefined || queue === undefined) throw new Error('told before it was configured');
  let full: readonly string[];
  try {
    full = dispatcher.tell(notice);
  } catch (error) {
    // ENOSPC, EDQUOT, EROFS: the broker keeps it, and tells it again.
    const { code } = error as NodeJS.ErrnoException;
    if (typeof code !== 'string') throw error;
    channel.send(CourierFrame.NotWritten, id, Buffer.from(code));
    return;
  }
  if (full.length === 0) channel.send(CourierFrame.Taken, id);
  else channel.send(CourierFrame.Full, id, Buffer.from(full.join(', ')));
}
