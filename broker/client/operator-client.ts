import type { AdminDefinition } from '../proto/gen/lastmile/v1/Admin.ts';
import type { AuditDefinition } from '../proto/gen/lastmile/v1/Audit.ts';
import type { AdminMethod, AuditMethod } from '../proto/methods.ts';
import { type CallOptions, type ConnectOptions, Transport } from './transport.ts';
import { type RequestOf, type ResponseOf, unaryMethod } from './unary-method.ts';

export type AdminRequest<M extends AdminMethod> = RequestOf<AdminDefinition[M]>;
export type AdminResponse<M extends AdminMethod> = ResponseOf<AdminDefinition[M]>;
export type AuditRequest<M extends AuditMethod> = RequestOf<AuditDefinition[M]>;
export type AuditResponse<M extends AuditMethod> = ResponseOf<AuditDefinition[M]>;

/** A page of the longest query: 1000 entries of at most 65,535 bytes (C2SP tlog-tiles). */
const MAX_RESPONSE_BYTES = 68 * 1024 * 1024;

/** What operators and auditors call on the control gateway. @throws as `connect` of client.ts does */
export async function connectOperator(options: ConnectOptions): Promise<OperatorClient> {
  return new OperatorClient(await Transport.open(options, MAX_RESPONSE_BYTES));
}

/** Every method of Admin and Audit under its own name. Calls reject with LastmileError and nothing else. */
export class OperatorClient implements AsyncDisposable {
  readonly #transport: Transport;

  /** Use `connectOperator`. */
  constructor(transport: Transport) {
    this.#transport = transport;
  }

  admin<M extends AdminMethod>(
    name: M,
    request: AdminRequest<M>,
    options: CallOptions = {},
  ): Promise<AdminResponse<M>> {
    return this.#transport.unary(
      unaryMethod<AdminRequest<M> & object, AdminResponse<M> & object>('Admin', name),
      request as AdminRequest<M> & object,
      options,
    );
  }

  audit<M extends AuditMethod>(
    name: M,
    request: AuditRequest<M>,
    options: CallOptions = {},
  ): Promise<AuditResponse<M>> {
    return this.#transport.unary(
      unaryMethod<AuditRequest<M> & object, AuditResponse<M> & object>('Audit', name),
      request as AuditRequest<M> & object,
      options,
    );
  }

  close(): void {
    this.#transport.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }
}
