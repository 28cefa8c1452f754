/**
 * Runs one part of an examination in a process of its own, and says how that ended: nothing that a module does ends the
 * command.
 */
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type ChildExit, type ChildUser, SupervisedChild } from '../../hsm-adapters/frames/child-process.ts';
import {
  type DoctorFinding,
  DoctorFrame,
  type DoctorOrder,
} from '../../hsm-adapters/frames/doctor-frames.ts';
import type { FrameChannel } from '../../hsm-adapters/frames/frame-channel.ts';
import { entryUrl, treeRoot, workerFlags } from '../../hsm-adapters/frames/isolation.ts';
import type { DoctorExamination, DoctorOptions } from '../cli/doctor-report.ts';

/** Where a module runs, and as whom. */
export interface ModulePlace {
  readonly module: string;
  readonly directory: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly user: ChildUser | undefined;
}

export interface Ending {
  readonly findings: readonly DoctorFinding[];
  readonly end: DoctorExamination['end'];
  /** Why it failed, where it hung or what it crashed of; undefined when it is done. */
  readonly detail: string | undefined;
}

/** A module that fails, hangs or crashes is an ending and no error: it comes with what was found until then. */
export function carryOut(place: ModulePlace, options: DoctorOptions, order: DoctorOrder): Promise<Ending> {
  const root = treeRoot();
  const pinFile = order.part === 'examination' ? order.pin.file : undefined;
  const findings: DoctorFinding[] = [];
  return new Promise((resolve) => {
    let step = 'starting';
    let silence: NodeJS.Timeout | undefined;
    let isHung = false;
    let lastWord: string | undefined;
    const listen = (): void => {
      clearTimeout(silence);
      silence = setTimeout(() => {
        isHung = true;
        child.kill(new Error('the module hangs'));
      }, options.hangLimitMs);
    };
    const child = new SupervisedChild(
      {
        role: 'doctor',
        name: 'doctor',
        entry: entryUrl('hsm-adapters/pkcs11/doctor-process', root),
        flags: [...workerFlags(root, { module: place.module, pinFile }), ...inventoryGrants()],
        env: {
          ...place.environment,
          UV_THREADPOOL_SIZE: String(Math.min(1024, options.sessions + 1)),
        },
        cwd: place.directory,
        user: place.user,
      },
      {
        started: (channel: FrameChannel) => {
          listen();
          channel.send(DoctorFrame.Order, 0, Buffer.from(JSON.stringify(order)));
        },
        frame: (type, _id, payload) => {
          if (type !== DoctorFrame.Finding) throw new Error(`doctor: a frame of type ${type}`);
          listen();
          const finding = JSON.parse(payload.toString('utf8')) as DoctorFinding;
          if (finding.kind === 'step') step = finding.step;
          findings.push(finding);
        },
        exited: (exit) => {
          clearTimeout(silence);
          void child
            .stop()
            .then(() => resolve({ findings, ...endingOf(findings, exit, isHung, step, lastWord) }));
        },
        // Modules talk, and nobody asked; of one that crashed, the last word may say why.
        log: (line) => {
          lastWord = line;
        },
      },
    );
    child.start();
  });
}

function endingOf(
  findings: readonly DoctorFinding[],
  exit: ChildExit,
  isHung: boolean,
  step: string,
  lastWord: string | undefined,
): Pick<Ending, 'end' | 'detail'> {
  if (findings.some(({ kind }) => kind === 'done')) return { end: 'done', detail: undefined };
  const failed = findings.find((finding) => finding.kind === 'failed');
  if (failed !== undefined) return { end: 'failed', detail: failed.why };
  if (isHung) return { end: 'hung', detail: step };
  const how = exit.error?.message ?? exit.signal ?? `exit code ${exit.code}`;
  return { end: 'crashed', detail: `${step} (${how}${lastWord === undefined ? '' : `: ${lastWord}`})` };
}

/** graphene, which reads the inventory, and what it is made of. */
function inventoryGrants(): string[] {
  const graphene = dirname(fileURLToPath(import.meta.resolve('graphene-pk11/package.json')));
  return [graphene, join(dirname(graphene), 'tslib')].map((path) => `--allow-fs-read=${path}/`);
}
