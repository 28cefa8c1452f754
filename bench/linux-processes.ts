import { readdirSync, readFileSync } from 'node:fs';

/** What the kernel knows of the processes under measurement. Linux only: elsewhere there is no /proc. */

export interface MeasuredProcess {
  readonly pid: number;
  /** `broker`, or the role that the broker gave its child: `gateway`, `control-gateway`, `token-worker`. */
  readonly role: string;
}

/** USER_HZ: the unit of /proc/PID/stat is fixed at 10 ms for user space (proc(5)). */
const MS_PER_TICK = 10;

/** The broker and its children. */
export function brokerProcesses(brokerPid: number): readonly MeasuredProcess[] {
  const children = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => statOf(pid)?.parent === brokerPid);
  return [
    { pid: brokerPid, role: 'broker' },
    ...children.map((pid) => ({ pid, role: roleOf(readFileSync(`/proc/${pid}/cmdline`, 'utf8')) })),
  ];
}

/** User and system time of all threads since the start of the process, in steps of 10 ms. @throws when it has gone */
export function cpuMs(pid: number): number {
  const stat = statOf(pid);
  if (stat === undefined) throw new Error(`process ${pid} has gone while it was measured`);
  return stat.ticks * MS_PER_TICK;
}

export function residentMib(pid: number): number {
  const kib = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  if (kib === undefined) throw new Error(`process ${pid} has no memory`);
  return Number(kib) / 1024;
}

function statOf(pid: number): ProcessStat | undefined {
  try {
    return parseStat(readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch (error) {
    // It ended between the listing and the reading.
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH'))
      return undefined;
    throw error;
  }
}

export interface ProcessStat {
  readonly parent: number;
  /** utime and stime. */
  readonly ticks: number;
}

/** A line of /proc/PID/stat. The command's name stands in parentheses and may itself hold blanks and parentheses. */
export function parseStat(line: string): ProcessStat {
  const fields = line.slice(line.lastIndexOf(')') + 2).split(' ');
  return { parent: Number(fields[1]), ticks: Number(fields[11]) + Number(fields[12]) };
}

/** The broker's children carry their role as JSON in their last argument. */
export function roleOf(cmdline: string): string {
  const last = cmdline.split('\0').findLast((argument) => argument !== '') ?? '';
  try {
    const { role } = JSON.parse(last) as { role?: unknown };
    return typeof role === 'string' ? role : 'unnamed';
  } catch {
    return 'unnamed';
  }
}
