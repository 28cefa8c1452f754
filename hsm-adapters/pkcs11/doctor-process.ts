import {
  connectToParent,
  dropPermissions,
  dropPrivileges,
  readChildArguments,
  startLifeline,
} from '../frames/child-side.ts';
import { type DoctorFinding, DoctorFrame, type DoctorOrder } from '../frames/doctor-frames.ts';
import { FrameError } from '../frames/frame-channel.ts';
import { findProfile } from '../profiles/profiles.ts';
import { Cryptoki } from './cryptoki.ts';
import { examine } from './examination.ts';
import { readInventory } from './inventory.ts';
import { Pin } from './login.ts';
import { findToken } from './token.ts';

/**
 * A process to be thrown away: it loads a module that nobody trusts yet, as isolated as a token worker, finds out one
 * thing, and ends. If the module takes it down, that is a finding.
 */
const child = readChildArguments();
await startLifeline();
let isBusy = false;

const channel = connectToParent({
  frame: (type, _id, payload) => {
    if (type !== DoctorFrame.Order || isBusy) throw new FrameError(`frame of type ${type}`);
    isBusy = true;
    void carryOut(JSON.parse(payload.toString('utf8')) as DoctorOrder);
  },
  closed: () => {
    // exit() would wait for, or run into, a call that still uses the module.
    if (isBusy) process.kill(process.pid, 'SIGKILL');
  },
});

function tell(finding: DoctorFinding): void {
  channel.send(DoctorFrame.Finding, 0, Buffer.from(JSON.stringify(finding)));
  channel.flush();
}

async function carryOut(order: DoctorOrder): Promise<void> {
  try {
    if (order.part === 'inventory') takeInventory(order);
    else await examineToken(order);
    tell({ kind: 'done' });
  } catch (error) {
    tell({ kind: 'failed', why: error instanceof Error ? error.message : 'not an error' });
  }
  // The module may crash in its exit handlers; whatever it did is told by then.
  const leave = (): void => {
    if (channel.pendingBytes > 0 && !channel.isClosed) setTimeout(leave, 1);
    else process.kill(process.pid, 'SIGKILL');
  };
  leave();
}

function takeInventory(order: Extract<DoctorOrder, { part: 'inventory' }>): void {
  isolate();
  tell({ kind: 'step', step: 'loading the module and reading what it says about itself' });
  tell({ kind: 'inventory', inventory: readInventory(order.module, order.libraryParameters) });
}

async function examineToken(order: Extract<DoctorOrder, { part: 'examination' }>): Promise<void> {
  const profile = findProfile(order.profile);
  if (profile === undefined) throw new Error(`no profile \`${order.profile}\``);
  // As the user this was started as; the module runs as another.
  const pin = Pin.read(order.pin);
  isolate();
  const cryptoki = Cryptoki.load(order.module);
  const variable = profile.libraryParameters;
  cryptoki.initialize(variable === undefined ? undefined : process.env[variable]);
  const token = findToken(cryptoki, order);
  await examine({ cryptoki, token, profile, order, pin, tell });
}

function isolate(): void {
  dropPrivileges(child.user);
  dropPermissions(['fs', 'child', 'worker', 'net', 'addon', 'wasi']);
}
