import {
  connectToParent,
  dropPermissions,
  dropPrivileges,
  readChildArguments,
  startLifeline,
} from '../../../../hsm-adapters/frames/child-side.ts';
import { attempt, intrusions } from './intrusions.ts';
import { readTargets } from './targets.ts';

/**
 * Stands where the program of a role stands, is started as it is, drops what it drops, and then turns bad. The role
 * `native` plays a module's code, which no permission of Node's restrains: only its user id does.
 */
const child = readChildArguments();
const targets = readTargets();
if (child.role === 'token-worker') await startLifeline();
connectToParent({ frame: () => undefined, closed: () => undefined });
dropPrivileges(child.user);
if (child.role !== 'native') {
  const drops = targets.drops[child.role];
  if (drops === undefined) throw new Error(`no drops for role ${child.role}`);
  dropPermissions(drops);
}
const results: Record<string, string> = {
  pid: String(process.pid),
  uid: String(process.getuid?.()),
  'what came with the environment': Object.keys(process.env)
    .filter((name) => !/^(PWD|OLDPWD|SHLVL|_|UV_THREADPOOL_SIZE|MALLOC_ARENA_MAX)$/.test(name))
    .join(' '),
};
for (const [name, intrusion] of Object.entries(intrusions(targets, process.ppid))) {
  results[name] = await attempt(intrusion);
}
process.stderr.write(`INTRUDER ${JSON.stringify(results)}\n`);
