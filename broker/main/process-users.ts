/** Which user each child process runs as. The kernel then keeps their files and memory apart. */
import { statSync } from 'node:fs';
import type { ChildUser } from '../../hsm-adapters/frames/child-process.ts';
import { isolationReport, type RoleUsers, roleUsers } from '../../hsm-adapters/frames/isolation.ts';
import type { LastmileConfig } from '../config.ts';

export interface ProcessUsers {
  readonly roles: RoleUsers;
  /** Of the token workers, in the order of lastmile.yaml. */
  readonly workers: readonly (ChildUser | undefined)[];
  /** Every child process has a user of its own. */
  readonly isIsolated: boolean;
}

/** Users by role as lastmile.yaml wants them; undefined where there are none to be had. */
export function configuredUsers({ mode, uidBase }: LastmileConfig['isolation']): RoleUsers {
  return roleUsers({ uidBase, ...(mode === 'shared' ? { isRoot: false } : {}) });
}

/** @throws Error when users of their own are wanted and cannot be had */
export function processUsers({ isolation, tokens, courier }: LastmileConfig): ProcessUsers {
  const roles = configuredUsers(isolation);
  if (isolation.mode === 'users' && roles.gateway === undefined) {
    throw new Error('isolation.mode is `users`, which needs the broker to be started as root');
  }
  const workers = tokens.map((token, position) =>
    roles.worker(workerNumber(token.directory, isolation.uidBase) ?? position, token.groups),
  );
  const all = [
    roles.gateway,
    roles.controlGateway,
    ...workers,
    ...(courier === undefined ? [] : [roles.courier]),
  ];
  return { roles, workers, isIsolated: isolationReport(all) === 'processes isolated by user id' };
}

/** SoftHSM's files belong to the worker's user: the number stays with the directory, whatever the order in lastmile.yaml. */
function workerNumber(directory: string, uidBase: number): number | undefined {
  try {
    const number = statSync(directory).uid - uidBase - 10;
    return number >= 0 && number <= 999 ? number : undefined;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
