/** Why an instance was not made. The message is for the person who ran `lastmile init` and says what to do. */
export type InitReason =
  | 'INSTANCE_EXISTS'
  | 'DIRECTORY_NOT_EMPTY'
  | 'ANOTHER_INIT'
  | 'MODULE_NOT_FOUND'
  | 'NOT_A_DEVELOPMENT_INSTANCE'
  | 'CERTIFICATE_AUTHORITY_EXPIRED'
  | 'NAME_INVALID'
  | 'NAME_TAKEN';

export class InitError extends Error {
  override readonly name = 'InitError';
  readonly reason: InitReason;

  constructor(reason: InitReason, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.reason = reason;
  }
}
