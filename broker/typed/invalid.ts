import { Failure } from '../keyuse/failure.ts';

/** What a caller of typed signing did wrong; `message` quotes nothing that only the policy's author knows. */
export function invalid(message: string, cause?: unknown): Failure {
  return new Failure('REQUEST_INVALID', message, cause === undefined ? {} : { cause });
}
