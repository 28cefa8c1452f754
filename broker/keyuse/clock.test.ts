import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  BrokerClock,
  type BrokerClockOptions,
  type ClockEvent,
  type Synchronisation,
  timesyncdSynchronisation,
} from './clock.ts';

const START = Date.parse('2026-03-01T12:00:00.000Z');
const HOUR = 3_600_000;

/** A machine with two clocks. */
class Machine {
  wall = START;
  monotonic = 12_345.5;
  synchronisation: Synchronisation = 'unknown';
  readonly events: ClockEvent[] = [];
  readonly clock: BrokerClock;

  constructor(options: Partial<BrokerClockOptions> = {}) {
    this.clock = new BrokerClock({
      wallMs: () => this.wall,
      monotonicMs: () => this.monotonic,
      synchronisation: () => this.synchronisation,
      onEvent: (event) => this.events.push(event),
      ...options,
    });
  }

  pass(ms: number): void {
    this.wall += ms;
    this.monotonic += ms;
    this.clock.observe();
  }

  set(byMs: number): void {
    this.wall += byMs;
    this.clock.observe();
  }
}

describe('the broker’s clock', () => {
  it('is the wall clock while nobody touches it', () => {
    const machine = new Machine();
    machine.pass(1234);
    expect(machine.clock.now()).toBe(START + 1234);
    expect(machine.clock.steadyNow()).toBe(START + 1234);
    expect(machine.clock.doubtMs()).toBe(0);
    expect(machine.events).toEqual([]);
  });

  it.each([
    ['ahead', HOUR],
    ['back', -HOUR],
  ])('does not follow a wall clock that is set %s, and doubts itself by as much', (_, byMs) => {
    const machine = new Machine();
    machine.set(byMs);
    machine.pass(1000);
    expect(machine.clock.now()).toBe(START + 1000);
    expect(machine.clock.steadyNow()).toBe(START + 1000);
    expect(machine.clock.doubtMs()).toBe(HOUR);
    expect(machine.events).toEqual([{ kind: 'jump', byMs }]);
    // Time alone does not make it better.
    machine.pass(1000 * HOUR);
    expect(machine.clock.doubtMs()).toBe(HOUR);
  });

  it('sums jumps up, and forgets them when the clocks have agreed for long enough', () => {
    const machine = new Machine();
    machine.set(HOUR);
    machine.set(-HOUR);
    expect(machine.clock.doubtMs()).toBe(2 * HOUR);
    machine.pass(599_999);
    expect(machine.clock.doubtMs()).toBe(2 * HOUR);
    machine.pass(1);
    expect(machine.clock.doubtMs()).toBe(0);
    expect(machine.events.at(-1)).toEqual({ kind: 'doubt-over', because: 'agreement' });
  });

  it('begins to wait again when the clocks disagree in between', () => {
    const machine = new Machine();
    machine.set(HOUR);
    machine.set(-HOUR);
    machine.pass(400_000);
    machine.set(1000);
    machine.set(-1000);
    machine.pass(400_000);
    expect(machine.clock.doubtMs()).toBe(2 * HOUR + 2000);
    machine.pass(200_000);
    expect(machine.clock.doubtMs()).toBe(0);
  });

  it('notices when asked, without waiting for a look at the clocks', () => {
    const machine = new Machine();
    machine.wall += 5000;
    expect(machine.clock.doubtMs()).toBe(5000);
  });

  it('does not let many small steps pass for none', () => {
    const machine = new Machine();
    for (let i = 0; i < 300; i++) machine.set(15);
    expect(machine.clock.doubtMs()).toBeGreaterThan(4400);
    expect(machine.clock.now()).toBe(START);
    const still = new Machine();
    for (let i = 0; i < 300; i++) still.set(i % 2 === 0 ? 3 : -3);
    expect(still.clock.doubtMs()).toBe(0);
  });

  it('takes a suspended machine for a jump: the monotonic clock stood still', () => {
    const machine = new Machine();
    machine.wall += 8 * HOUR;
    expect(machine.clock.doubtMs()).toBe(8 * HOUR);
  });

  it('takes the wall clock when an operator accepts it, and counts limits on as before', () => {
    for (const byMs of [HOUR, -HOUR]) {
      const machine = new Machine();
      machine.set(byMs);
      machine.clock.accept();
      expect(machine.clock.now()).toBe(START + byMs);
      expect(machine.clock.steadyNow()).toBe(START);
      expect(machine.clock.doubtMs()).toBe(0);
      expect(machine.events.at(-1)).toEqual({ kind: 'doubt-over', because: 'operator' });
      machine.pass(1000);
      expect(machine.clock.doubtMs()).toBe(0);
    }
  });

  it('doubts a start before the last entry of the log, until it is passed', () => {
    const machine = new Machine({ lastEntryTimeMs: START + HOUR });
    expect(machine.events).toEqual([{ kind: 'behind-the-log', byMs: HOUR }]);
    expect(machine.clock.doubtMs()).toBe(HOUR);
    expect(machine.clock.now()).toBe(START);
    expect(machine.clock.steadyNow()).toBe(START + HOUR);
    machine.pass(HOUR - 1);
    expect(machine.clock.doubtMs()).toBe(HOUR);
    machine.pass(1);
    expect(machine.clock.doubtMs()).toBe(0);
    expect(new Machine({ lastEntryTimeMs: START - 1 }).clock.doubtMs()).toBe(0);
  });

  it('is wrong by nobody knows how much while the system says that it is not synchronised', () => {
    const machine = new Machine();
    machine.synchronisation = 'unsynchronised';
    machine.pass(10_000);
    expect(machine.clock.doubtMs()).toBe(Number.POSITIVE_INFINITY);
    machine.synchronisation = 'synchronised';
    machine.pass(10_000);
    expect(machine.clock.doubtMs()).toBe(0);
    expect(machine.events.map(({ kind }) => kind)).toEqual(['unsynchronised', 'synchronised']);
    const from = new Machine({ synchronisation: () => 'unsynchronised' });
    expect(from.clock.doubtMs()).toBe(Number.POSITIVE_INFINITY);
  });

  it('never goes back, and passes as fast as time does, whatever happens to the wall clock', () => {
    const step = fc.record({
      passMs: fc.double({ min: 0, max: 100_000, noNaN: true }),
      setMs: fc.oneof(fc.constant(0), fc.integer({ min: -1e11, max: 1e11 })),
      accepts: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 50 }), (steps) => {
        const machine = new Machine();
        let passed = 0;
        for (const { passMs, setMs, accepts } of steps) {
          machine.set(setMs);
          expect(machine.clock.doubtMs()).toBeGreaterThanOrEqual(
            Math.abs(machine.wall - machine.clock.now()) - 21,
          );
          if (accepts) machine.clock.accept();
          machine.pass(passMs);
          passed += passMs;
          expect(machine.clock.steadyNow()).toBeCloseTo(START + passed, 1);
        }
      }),
    );
  });

  it('refuses a clock that says no time', () => {
    const machine = new Machine();
    machine.wall = Number.NaN;
    expect(() => machine.clock.doubtMs()).toThrow(TypeError);
  });
});

describe('what timesyncd says', () => {
  it('is read from the files that it leaves', () => {
    const directory = mkdtempSync(join(tmpdir(), 'lastmile-timesync-'));
    try {
      expect(timesyncdSynchronisation(join(directory, 'timesync'))).toBe('unknown');
      mkdirSync(join(directory, 'timesync'));
      expect(timesyncdSynchronisation(join(directory, 'timesync'))).toBe('unsynchronised');
      writeFileSync(join(directory, 'timesync', 'synchronized'), '');
      expect(timesyncdSynchronisation(join(directory, 'timesync'))).toBe('synchronised');
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it('is asked of the real clocks without a doubt', () => {
    const events: ClockEvent[] = [];
    const clock = new BrokerClock({
      onEvent: (event) => events.push(event),
      synchronisation: () => 'unknown',
    });
    expect(Math.abs(clock.now() - Date.now())).toBeLessThan(50);
    expect(clock.doubtMs()).toBe(0);
    expect(events).toEqual([]);
  });
});
