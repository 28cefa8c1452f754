import type { DemoOptions } from '../cli/context.ts';
import { startServing } from './serve.ts';
export async function demonstrate(_options: DemoOptions, _stdout: NodeJS.WritableStream): Promise<void> {
  await startServing('');
}
