import type { MethodDefinition } from '@grpc/proto-loader';
import { codec } from '../proto/codec.ts';
import type { AdminDefinition } from '../proto/gen/lastmile/v1/Admin.ts';
import type { AuditDefinition } from '../proto/gen/lastmile/v1/Audit.ts';
import type { AdminMethod, AuditMethod } from '../proto/methods.ts';
import { type CallOptions, type ConnectOptions, Transport, type UnaryMethod } from './transport.ts';

type RequestOf<Definition> =
  Definition extends MethodDefinition<infer Request, infer _Response, infer _Received, infer _Output>
    ? Request
    : never;
type ResponseOf<Definition> =
  Definition extends MethodDefinition<infer _Request, infer _Response, infer _Received, infer Output>
    ? Output
    : never;

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
      method<AdminRequest<M> & object, AdminResponse<M> & object>('Admin', name),
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
      method<AuditRequest<M> & object, AuditResponse<M> & object>('Audit', name),
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

function method<In extends object, Out extends object>(
  service: 'Admin' | 'Audit',
  name: string,
): UnaryMethod<In, Out> {
  return {
    path: `/lastmile.v1.${service}/${name}`,
    request: codec<In, never>(`lastmile.v1.${name}Request`),
    response: codec<never, Out>(`lastmile.v1.${name}Response`),
  };
}
