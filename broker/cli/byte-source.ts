/** Reads a stream of bytes in pieces of chosen size: files, pipes and terminals alike. */
export class ByteSource {
  readonly #chunks: AsyncIterator<Uint8Array | string>;
  #buffered: Buffer[] = [];
  #bufferedBytes = 0;
  #isOver = false;

  constructor(stream: AsyncIterable<Uint8Array | string>) {
    this.#chunks = stream[Symbol.asyncIterator]();
  }

  /** The next `size` bytes; fewer only at the end. */
  async read(size: number): Promise<Buffer> {
    await this.#fill(size);
    const all = Buffer.concat(this.#buffered);
    const piece = all.subarray(0, size);
    this.#keep(all.subarray(size));
    return piece;
  }

  /** What `read` would return, without taking it. */
  async peek(size: number): Promise<Buffer> {
    await this.#fill(size);
    const all = Buffer.concat(this.#buffered);
    this.#keep(all);
    return all.subarray(0, size);
  }

  #keep(rest: Buffer): void {
    this.#buffered = rest.length === 0 ? [] : [rest];
    this.#bufferedBytes = rest.length;
  }

  async #fill(size: number): Promise<void> {
    while (!this.#isOver && this.#bufferedBytes < size) {
      const next = await this.#chunks.next();
      if (next.done === true) {
        this.#isOver = true;
      } else {
        const chunk = typeof next.value === 'string' ? Buffer.from(next.value) : Buffer.from(next.value);
        this.#buffered.push(chunk);
        this.#bufferedBytes += chunk.length;
      }
    }
  }
}
