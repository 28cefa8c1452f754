import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { TokenConfig } from '../../../hsm-adapters/adapter.ts';
import type { ModuleUnderTest } from '../../conformance/adapters/module-under-test.ts';
import { MODULE } from '../../integration/pkcs11/soft-token.ts';
import { Daemon } from './daemon.ts';
import { LIBRARIES, needs } from './machine.ts';
import { startSoftHsm } from './soft-hsm-module.ts';

const CLIENT = `${LIBRARIES}/pkcs11/p11-kit-client.so`;

/** Two SoftHSM tokens, each behind a p11-kit server of its own: as far away as a token can be without a network. */
export async function startP11Kit(): Promise<ModuleUnderTest> {
  needs('p11-kit', '/usr/bin/p11-kit', CLIENT);
  const behind = startSoftHsm();
  const servers: Daemon[] = [];
  const tokens: TokenConfig[] = [];
  for (const [at, token] of behind.tokens.entries()) {
    const socket = join(behind.directory, `server-${at}`);
    servers.push(
      await Daemon.start(
        'p11-kit',
        ['server', '-f', '--provider', MODULE, '--name', socket, `pkcs11:serial=${token.serial}`],
        {
          env: { ...token.environment },
          cwd: behind.directory,
          user: behind.user,
          isReady: () => existsSync(socket),
        },
      ),
    );
    tokens.push({
      ...token,
      module: CLIENT,
      profile: 'p11-kit',
      environment: { P11_KIT_SERVER_ADDRESS: `unix:path=${socket}` },
    });
  }
  return {
    tokens,
    user: behind.user,
    stop: async () => {
      await Promise.all(servers.map((server) => server.stop()));
      await behind.stop();
    },
  };
}
