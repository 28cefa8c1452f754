// Original file: broker/proto/lastmile/v1/approvals.proto


export interface ListApprovalsRequest {
  'all'?: (boolean);
  'limit'?: (number);
}

export interface ListApprovalsRequest__Output {
  'all': (boolean);
  'limit': (number);
}
