import type { MethodDefinition } from '@grpc/proto-loader';
import { codec } from '../proto/codec.ts';
import type { ApprovalsDefinition } from '../proto/gen/lastmile/v1/Approvals.ts';
import { APPROVALS_MESSAGES, type ApprovalsMethod } from '../proto/methods.ts';
import { type CallOptions, type ConnectOptions, Transport, type UnaryMethod } from './transport.ts';

export type ApprovalsRequest<M extends ApprovalsMethod> =
  ApprovalsDefinition[M] extends MethodDefinition<infer Request, infer _Response, infer _In, infer _Out>
    ? Request
    : never;
export type ApprovalsResponse<M extends ApprovalsMethod> =
  ApprovalsDefinition[M] extends MethodDefinition<infer _Request, infer _Response, infer _In, infer Output>
    ? Output
    : never;

/** A list of the longest acts. */
const MAX_RESPONSE_BYTES = 32 * 1024 * 1024;

/** What approvers call on the control gateway. @throws as `connect` of client.ts does */
export async function connectApprover(options: ConnectOptions): Promise<ApproverClient> {
  return new ApproverClient(await Transport.open(options, MAX_RESPONSE_BYTES));
}

/** Every method of Approvals under its own name. Calls reject with LastmileError and nothing else. */
export class ApproverClient implements AsyncDisposable {
  readonly #transport: Transport;

  /** Use `connectApprover`. */
  constructor(transport: Transport) {
    this.#transport = transport;
  }

  call<M extends ApprovalsMethod>(
    name: M,
    request: ApprovalsRequest<M>,
    options: CallOptions = {},
  ): Promise<ApprovalsResponse<M>> {
    const method: UnaryMethod<ApprovalsRequest<M> & object, ApprovalsResponse<M> & object> = {
      path: `/lastmile.v1.Approvals/${name}`,
      request: codec<ApprovalsRequest<M> & object, never>(`lastmile.v1.${APPROVALS_MESSAGES[name]}Request`),
      response: codec<never, ApprovalsResponse<M> & object>(
        `lastmile.v1.${APPROVALS_MESSAGES[name]}Response`,
      ),
    };
    return this.#transport.unary(method, request as ApprovalsRequest<M> & object, options);
  }

  close(): void {
    this.#transport.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }
}
