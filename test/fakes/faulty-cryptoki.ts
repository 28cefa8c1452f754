import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  mkdtempSync,
  openSync,
  readSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { ckr } from '../../hsm-adapters/pkcs11/ckr.ts';

/** Functions of PKCS#11 2.40 that Lastmile calls, by their place in CK_FUNCTION_LIST. */
const NUMBERS = {
  C_Initialize: 0,
  C_Finalize: 1,
  C_GetSlotList: 4,
  C_GetTokenInfo: 6,
  C_GetMechanismList: 7,
  C_OpenSession: 12,
  C_CloseSession: 13,
  C_Login: 18,
  C_GetAttributeValue: 24,
  C_FindObjectsInit: 26,
  C_FindObjects: 27,
  C_FindObjectsFinal: 28,
  C_EncryptInit: 29,
  C_Encrypt: 30,
  C_DecryptInit: 33,
  C_Decrypt: 34,
  C_SignInit: 42,
  C_Sign: 43,
  C_WrapKey: 60,
  C_GenerateRandom: 64,
} as const;
export type Call = keyof typeof NUMBERS;

const FUNCTIONS = 68;
const RULE_WORDS = 9;
const WORD_BYTES = 4;
/** Fields of `struct rule`, in words. */
const FIELDS = {
  code: 0,
  times: 1,
  after: 2,
  delayMs: 3,
  corrupt: 4,
  calls: 5,
  fired: 6,
  inFlight: 7,
  busyUs: 8,
} as const;
/** Fields of `struct control` behind the rules. */
const TOTALS = { sessionLimit: 0, sessions: 1, finalizedInFlight: 2, inFlight: 3, capacity: 4 } as const;
const CRASH = 0xffffffff;
const LOOK_MS = 2;

export const ALWAYS = 0xffffffff;

/**
 * A PKCS#11 module in front of another one, in which calls go wrong when a test says so: faulty-cryptoki.c says how. A
 * token has one of its own; whoever runs the worker, and however often it is replaced, the orders stand.
 */
export class FaultyCryptoki {
  readonly #directory: string;
  readonly #control: number;
  readonly #target: string;

  /** @throws when there is no C compiler */
  constructor(target: string) {
    this.#target = target;
    this.#directory = mkdtempSync(join(tmpdir(), 'lastmile-faulty-'));
    // Workers drop to users of their own.
    chmodSync(this.#directory, 0o755);
    const source = fileURLToPath(new URL('faulty-cryptoki.c', import.meta.url));
    execFileSync('gcc', [
      '-shared',
      '-fPIC',
      '-O1',
      '-Wall',
      '-Werror',
      '-o',
      this.module,
      source,
      '-ldl',
      '-lpthread',
    ]);
    const file = join(this.#directory, 'control');
    writeFileSync(file, Buffer.alloc((FUNCTIONS * RULE_WORDS + Object.keys(TOTALS).length) * WORD_BYTES));
    chmodSync(file, 0o666);
    this.#control = openSync(file, 'r+');
  }

  get module(): string {
    return join(this.#directory, 'faulty.so');
  }

  get environment(): Readonly<Record<string, string>> {
    return { FAULTY_TARGET: this.#target, FAULTY_CONTROL: join(this.#directory, 'control') };
  }

  /** The next `times` calls fail with this code, without the real module being asked, or once it has done its work. */
  fail(call: Call, code: string, times: number = 1, when: 'before' | 'after' = 'before'): void {
    this.#set(call, 'times', 0);
    this.#set(call, 'code', ckr(code));
    this.#set(call, 'after', when === 'after' ? 1 : 0);
    this.#set(call, 'times', times);
  }

  /** The process dies in the next call. */
  crash(call: Call): void {
    this.#set(call, 'code', CRASH);
    this.#set(call, 'times', 1);
  }

  /** From now on every call takes so much longer. Calls in which the module sleeps already sleep on. */
  delay(call: Call, ms: number): void {
    this.#set(call, 'delayMs', ms);
  }

  /** One bit of what the next `times` calls return is wrong. */
  corrupt(call: Call, times: number = 1): void {
    this.#set(call, 'corrupt', times);
  }

  /** More sessions than so many are refused with CKR_SESSION_COUNT; 0: no limit. */
  set sessionLimit(sessions: number) {
    this.#write(FUNCTIONS * RULE_WORDS + TOTALS.sessionLimit, sessions);
  }

  /** Of the calls that are delayed no more than so many run at once, the others wait in the module; 0: no limit. */
  set capacity(calls: number) {
    this.#write(FUNCTIONS * RULE_WORDS + TOTALS.capacity, calls);
  }

  /** Open now, as the module counts. */
  get sessions(): number {
    return this.#read(FUNCTIONS * RULE_WORDS + TOTALS.sessions);
  }

  /** How often C_Finalize was called while another call ran. */
  get finalizedInFlight(): number {
    return this.#read(FUNCTIONS * RULE_WORDS + TOTALS.finalizedInFlight);
  }

  calls(call: Call): number {
    return this.#get(call, 'calls');
  }

  /** How often something went wrong on order. */
  fired(call: Call): number {
    return this.#get(call, 'fired');
  }

  inFlight(call: Call): number {
    return this.#get(call, 'inFlight');
  }

  /** Microseconds that its threads have spent in this call together; goes round at 2^32. */
  busyMicros(call: Call): number {
    return this.#get(call, 'busyUs');
  }

  /** Resolves after so many more calls. */
  async called(call: Call, times: number): Promise<void> {
    const before = this.calls(call);
    await this.shows(() => this.calls(call) >= before + times);
  }

  /** Resolves when what the module counts is so. It counts in memory that tells nobody: this looks again and again. */
  async shows(condition: () => boolean): Promise<void> {
    while (!condition()) await setTimeout(LOOK_MS);
  }

  /** Everything goes well again. Counters stay. */
  heal(): void {
    for (const call of Object.keys(NUMBERS) as Call[]) {
      for (const field of ['times', 'code', 'delayMs', 'corrupt'] as const) this.#set(call, field, 0);
    }
    this.sessionLimit = 0;
    this.capacity = 0;
  }

  remove(): void {
    closeSync(this.#control);
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #set(call: Call, field: keyof typeof FIELDS, value: number): void {
    this.#write(NUMBERS[call] * RULE_WORDS + FIELDS[field], value);
  }

  #get(call: Call, field: keyof typeof FIELDS): number {
    return this.#read(NUMBERS[call] * RULE_WORDS + FIELDS[field]);
  }

  #write(word: number, value: number): void {
    writeSync(
      this.#control,
      Uint8Array.from(Buffer.from(Uint32Array.of(value).buffer)),
      0,
      WORD_BYTES,
      word * WORD_BYTES,
    );
  }

  #read(word: number): number {
    const bytes = new Uint32Array(1);
    readSync(this.#control, new Uint8Array(bytes.buffer), 0, WORD_BYTES, word * WORD_BYTES);
    return bytes[0]!;
  }
}
