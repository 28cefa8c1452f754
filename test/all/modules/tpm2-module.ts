import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import type { TokenConfig } from '../../../hsm-adapters/adapter.ts';
import type { ModuleUnderTest } from '../../conformance/adapters/module-under-test.ts';
import { Daemon } from './daemon.ts';
import { give, LIBRARIES, needs, ownDirectory, pinFile, removeDirectory, run } from './machine.ts';

const MODULE = `${LIBRARIES}/libtpm2_pkcs11.so.1`;
const SO_PIN = 'sopin123';
const PIN = 'userpin1';
const NAMES = ['first', 'second'] as const;

export interface Tpm2 extends ModuleUnderTest {
  readonly wrongPins: () => number;
  /** What only the TPM's owner can do. */
  resetLockout(): void;
}

/**
 * A TPM in software behind its resource manager. Without the manager, the two or three keys that fit into a TPM at
 * once are all that one process can use.
 */
export async function startTpm2(): Promise<Tpm2> {
  needs('libtpm2-pkcs11-1', MODULE);
  needs('swtpm', '/usr/bin/swtpm');
  needs('swtpm-tools', '/usr/bin/swtpm_setup');
  needs('tpm2-abrmd', '/usr/sbin/tpm2-abrmd');
  needs('tpm2-tools', '/usr/bin/tpm2_getcap');
  needs('opensc', '/usr/bin/pkcs11-tool');
  const user = tssUser();
  const directory = ownDirectory('tpm2', user);
  for (const name of ['state', 'store']) {
    mkdirSync(join(directory, name));
    give(join(directory, name), user);
  }
  run('swtpm_setup', ['--tpm2', '--tpmstate', join(directory, 'state'), '--pcr-banks', 'sha256'], {
    user,
    cwd: directory,
    env: { XDG_CONFIG_HOME: directory, HOME: directory },
  });
  const daemons: Daemon[] = [];
  const stop = async () => {
    for (const daemon of daemons.toReversed()) await daemon.stop();
    removeDirectory(directory);
  };
  try {
    const port = await startTpm(directory, user, daemons);
    const bus = `unix:path=${join(directory, 'bus')}`;
    writeFileSync(join(directory, 'bus.conf'), BUS_CONFIG.replace('ADDRESS', bus));
    daemons.push(
      await Daemon.start(
        'dbus-daemon',
        ['--config-file', join(directory, 'bus.conf'), '--nofork', '--nosyslog'],
        { cwd: directory, isReady: () => accepts({ path: join(directory, 'bus') }) },
      ),
    );
    const environment = {
      DBUS_SESSION_BUS_ADDRESS: bus,
      TPM2_PKCS11_TCTI: 'tabrmd:bus_type=session',
      TPM2_PKCS11_STORE: join(directory, 'store'),
      TPM2_PKCS11_LOG_LEVEL: '0',
      TSS2_LOG: 'all+NONE',
    };
    const tools = { ...environment, TPM2TOOLS_TCTI: 'tabrmd:bus_type=session' };
    daemons.push(
      await Daemon.start(
        'tpm2-abrmd',
        ['--session', '--allow-root', '--flush-all', `--tcti=swtpm:host=127.0.0.1,port=${port}`],
        {
          cwd: directory,
          env: { PATH: '/usr/sbin:/usr/bin', DBUS_SESSION_BUS_ADDRESS: bus },
          isReady: () => answers(tools, directory),
        },
      ),
    );
    const tool = (...args: readonly string[]) =>
      run('pkcs11-tool', ['--module', MODULE, ...args], { env: environment, user, cwd: directory });
    for (const [slot, name] of NAMES.entries()) {
      tool('--slot-index', String(slot), '--init-token', '--label', name, '--so-pin', SO_PIN);
      const asSo = ['--login', '--login-type', 'so', '--so-pin', SO_PIN];
      tool('--token-label', name, ...asSo, '--init-pin', '--pin', PIN);
    }
    const pin = pinFile(directory, PIN);
    const tokens = NAMES.map(
      (name): TokenConfig => ({
        name,
        module: MODULE,
        profile: 'tpm2',
        label: name,
        pin: { kind: 'file', path: pin },
        sessions: 3,
        directory,
        environment,
        groups: [],
        hangLimitMs: 20_000,
      }),
    );
    const wrongPins = () => {
      const found = /TPM2_PT_LOCKOUT_COUNTER: 0x([0-9A-F]+)/i.exec(
        run('tpm2_getcap', ['properties-variable'], { env: tools, cwd: directory }),
      );
      if (found?.[1] === undefined) throw new Error('the TPM does not tell its lock-out counter');
      return Number.parseInt(found[1], 16);
    };
    const resetLockout = () => {
      run('tpm2_dictionarylockout', ['--clear-lockout'], { env: tools, cwd: directory });
    };
    return { tokens, user, stop, wrongPins, resetLockout };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** The bus knows only users that have a name. This one comes with the packages, and owns a real TPM's device. */
function tssUser(): ModuleUnderTest['user'] {
  if (process.getuid?.() !== 0) return undefined;
  const found = /^tss:[^:]*:(\d+):(\d+):/m.exec(readFileSync('/etc/passwd', 'utf8'));
  if (found === null) throw new Error('there is no user tss: package tpm2-abrmd makes it');
  return { uid: Number(found[1]), gid: Number(found[2]), groups: [] };
}

/** The control port is the next one: two free neighbours are found by trying. */
async function startTpm(
  directory: string,
  user: ModuleUnderTest['user'],
  daemons: Daemon[],
): Promise<number> {
  for (let attempt = 0; ; attempt += 1) {
    const port = 20_000 + 2 * Math.floor(Math.random() * 6_000);
    try {
      daemons.push(
        await Daemon.start(
          'swtpm',
          [
            'socket',
            '--tpm2',
            '--tpmstate',
            `dir=${join(directory, 'state')}`,
            '--server',
            `type=tcp,port=${port},bindaddr=127.0.0.1`,
            '--ctrl',
            `type=tcp,port=${port + 1},bindaddr=127.0.0.1`,
            '--flags',
            'not-need-init,startup-clear',
          ],
          // Only the control port: the other one takes a single client, and then no more.
          { cwd: directory, user, isReady: () => accepts({ host: '127.0.0.1', port: port + 1 }) },
        ),
      );
      return port;
    } catch (error) {
      if (attempt === 4) throw error;
    }
  }
}

function accepts(target: { path: string } | { host: string; port: number }): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(target, () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}

function answers(env: Readonly<Record<string, string>>, cwd: string): boolean {
  try {
    run('tpm2_getcap', ['properties-variable'], { env, cwd });
    return true;
  } catch (error) {
    if (typeof (error as { status?: unknown }).status === 'number') return false;
    throw error;
  }
}

const BUS_CONFIG = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>ADDRESS</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
  </policy>
</busconfig>
`;
