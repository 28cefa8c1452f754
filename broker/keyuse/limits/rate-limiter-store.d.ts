// What the package's own stores are made of. The package has types for it, but neither exports it by its entry point
// nor types it under its path.
declare module 'rate-limiter-flexible/lib/RateLimiterStoreAbstract.js' {
  import type { RateLimiterRes } from 'rate-limiter-flexible';

  class RateLimiterStoreAbstract {
    /** `duration` in seconds; 0: never expires. */
    constructor(options: { readonly points: number; readonly duration: number; readonly keyPrefix: string });
    points: number;
    /** Rejects with a RateLimiterRes when more than `points` are consumed; they count all the same. */
    consume(key: string, points: number, options: unknown): Promise<RateLimiterRes>;
    reward(key: string, points: number, options: unknown): Promise<RateLimiterRes>;
  }
  export = RateLimiterStoreAbstract;
}
