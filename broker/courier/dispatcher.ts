import type { CourierConfiguration, Destination, Outcome } from './courier-frames.ts';
import { isUrgent, type Notice } from './notice.ts';
import { type Delivery, type Queue, QueueFullError } from './queue.ts';
import { DeliveryError } from './webhook.ts';

/** At once, to one destination. */
const MAX_UNDER_WAY = 4;
const JITTER = 0.2;

export interface DispatcherOptions {
  readonly configuration: CourierConfiguration;
  readonly queue: Queue;
  /** One attempt; rejects with DeliveryError. */
  readonly deliver: (destination: Destination, notice: Notice) => Promise<void>;
  readonly outcome: (outcome: Outcome) => void;
  /** Milliseconds of the Unix epoch. */
  readonly now: () => number;
  /** Runs later, unless everything ends before. */
  readonly after: (ms: number, run: () => void) => void;
  /** From 0 to 1. */
  readonly random: () => number;
}

interface Lane {
  readonly destination: Destination;
  /** In the order in which they came; what is urgent first. */
  readonly waiting: Delivery[];
  underWay: number;
}

/**
 * Brings each delivery to its destination, again and again, until it is taken or too old. Destinations do not wait for
 * each other, nor a delivery for one that fails before it.
 */
export class Dispatcher {
  readonly #options: DispatcherOptions;
  readonly #lanes: ReadonlyMap<string, Lane>;
  readonly #attempts = new Map<string, number>();

  constructor(options: DispatcherOptions) {
    this.#options = options;
    this.#lanes = new Map(
      options.configuration.destinations.map((destination) => [
        destination.name,
        { destination, waiting: [], underWay: 0 },
      ]),
    );
  }

  /** What an earlier process left. A destination that is configured no more gets nothing more. */
  resume(deliveries: readonly Delivery[]): void {
    for (const delivery of deliveries) {
      const lane = this.#lanes.get(delivery.destination);
      if (lane !== undefined) this.#enqueue(lane, delivery);
      else this.#end(delivery, 'given-up', 'the destination is configured no more');
    }
  }

  /**
   * Durable for each destination that wants it, when this returns; but for those that it returns, which it has no room for.
   *
   * @throws the system's error
   */
  tell(notice: Notice): readonly string[] {
    const full: string[] = [];
    for (const lane of this.#lanes.values()) {
      const { name, events } = lane.destination;
      if (!events.includes(notice.type)) continue;
      try {
        this.#enqueue(lane, this.#options.queue.add(name, notice));
      } catch (error) {
        if (!(error instanceof QueueFullError)) throw error;
        full.push(`${name} (${error.message})`);
      }
    }
    return full;
  }

  #enqueue(lane: Lane, delivery: Delivery): void {
    if (isUrgent(delivery.notice)) lane.waiting.unshift(delivery);
    else lane.waiting.push(delivery);
    this.#pump(lane);
  }

  #pump(lane: Lane): void {
    while (lane.underWay < MAX_UNDER_WAY) {
      const delivery = lane.waiting.shift();
      if (delivery === undefined) return;
      lane.underWay += 1;
      void this.#attempt(lane, delivery);
    }
  }

  async #attempt(lane: Lane, delivery: Delivery): Promise<void> {
    const attempts = (this.#attempts.get(delivery.file) ?? 0) + 1;
    this.#attempts.set(delivery.file, attempts);
    try {
      await this.#options.deliver(lane.destination, delivery.notice);
      this.#end(delivery, 'delivered');
    } catch (error) {
      this.#failed(lane, delivery, attempts, error);
    } finally {
      lane.underWay -= 1;
      this.#pump(lane);
    }
  }

  #failed(lane: Lane, delivery: Delivery, attempts: number, error: unknown): void {
    const { configuration, now, after, outcome, random } = this.#options;
    const why = error instanceof DeliveryError ? error.message : 'internal error';
    if (now() - delivery.queuedAt >= configuration.giveUpAfterMs) {
      this.#end(delivery, 'given-up', why);
      return;
    }
    outcome({
      destination: delivery.destination,
      notice: delivery.notice.id,
      what: 'failed',
      attempts,
      why,
    });
    const doubled = configuration.firstRetryMs * 2 ** Math.min(attempts - 1, 30);
    const pause = Math.min(doubled, configuration.longestRetryMs) * (1 - JITTER * random());
    const asked = error instanceof DeliveryError ? (error.retryAfterMs ?? 0) : 0;
    after(Math.max(pause, asked), () => this.#enqueue(lane, delivery));
  }

  #end(delivery: Delivery, what: 'delivered' | 'given-up', why?: string): void {
    const attempts = this.#attempts.get(delivery.file) ?? 0;
    this.#attempts.delete(delivery.file);
    this.#options.queue.done(delivery);
    this.#options.outcome({
      destination: delivery.destination,
      notice: delivery.notice.id,
      what,
      attempts,
      why,
    });
  }
}
