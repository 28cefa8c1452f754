import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TokenConfig } from '../../../hsm-adapters/adapter.ts';
import type { ChildUser } from '../../../hsm-adapters/frames/child-side.ts';
import { roleUsers } from '../../../hsm-adapters/frames/isolation.ts';
import type { ModuleUnderTest } from '../../conformance/adapters/module-under-test.ts';
import { give, LIBRARIES, needs, ownDirectory, pinFile, removeDirectory, run } from './machine.ts';

const MODULE = `${LIBRARIES}/libsoftokn3.so`;
const PIN = 'nsspin12';

/** Two NSS databases. Both tokens have NSS's one label and serial: it is the worker's parameters that tell them apart. */
export function startNss(user: ChildUser | undefined = roleUsers().worker(0)): ModuleUnderTest {
  needs('libnss3-tools', MODULE, '/usr/bin/certutil');
  const directory = ownDirectory('nss', user);
  const pin = pinFile(directory, PIN);
  const password = join(directory, 'password');
  writeFileSync(password, PIN, { mode: 0o600 });
  give(password, user);
  const tokens = ['first', 'second'].map((name): TokenConfig => {
    const database = join(directory, name);
    mkdirSync(database);
    give(database, user);
    run('certutil', ['-N', '-d', `sql:${database}`, '-f', password], { user, cwd: directory });
    return {
      name,
      module: MODULE,
      profile: 'nss',
      label: 'NSS Certificate DB',
      pin: { kind: 'file', path: pin },
      sessions: 3,
      directory,
      environment: { NSS_LIB_PARAMS: `configDir='sql:${database}'` },
      groups: [],
      hangLimitMs: 20_000,
    };
  });
  return { tokens, user, stop: async () => removeDirectory(directory) };
}
