import type { ApprovalsDefinition } from '../proto/gen/lastmile/v1/Approvals.ts';
import { APPROVALS_MESSAGES, type ApprovalsMethod } from '../proto/methods.ts';
import { type CallOptions, type ConnectOptions, Transport } from './transport.ts';
import { type RequestOf, type ResponseOf, unaryMethod } from './unary-method.ts';

export type ApprovalsRequest<M extends ApprovalsMethod> = RequestOf<ApprovalsDefinition[M]>;
export type ApprovalsResponse<M extends ApprovalsMethod> = ResponseOf<ApprovalsDefinition[M]>;

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
    return this.#transport.unary(
      unaryMethod<ApprovalsRequest<M> & object, ApprovalsResponse<M> & object>(
        'Approvals',
        name,
        APPROVALS_MESSAGES[name],
      ),
      request as ApprovalsRequest<M> & object,
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
