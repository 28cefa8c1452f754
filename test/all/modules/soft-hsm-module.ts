import { chmodSync, chownSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { TokenConfig } from '../../../hsm-adapters/adapter.ts';
import type { ChildUser } from '../../../hsm-adapters/frames/child-side.ts';
import { roleUsers } from '../../../hsm-adapters/frames/isolation.ts';
import type { ModuleUnderTest } from '../../conformance/adapters/module-under-test.ts';
import { MODULE, makeDirectory, makeToken } from '../../integration/pkcs11/soft-token.ts';

export interface SoftHsm extends ModuleUnderTest {
  readonly directory: string;
}

/** Two SoftHSM tokens in one directory, which belongs to the user that workers become. */
export function startSoftHsm(user: ChildUser | undefined = roleUsers().worker(0)): SoftHsm {
  const directory = makeDirectory();
  if (user !== undefined) {
    chmodSync(directory, 0o755);
    for (const path of ['', 'tokens']) chownSync(join(directory, path), user.uid, user.gid);
  }
  const tokens = ['first', 'second'].map((label): TokenConfig => {
    const { pinFile, serial } = makeToken(directory, label, user);
    return {
      name: label,
      module: MODULE,
      profile: 'softhsm2',
      serial,
      pin: { kind: 'file', path: pinFile },
      sessions: 3,
      directory,
      environment: { SOFTHSM2_CONF: 'softhsm2.conf' },
      groups: [],
      hangLimitMs: 20_000,
    };
  });
  return {
    directory,
    tokens,
    user,
    stop: async () => rmSync(directory, { recursive: true }),
  };
}
