// Original file: broker/proto/lastmile/v1/admin.proto


export interface ListTokensRequest {
}

export interface ListTokensRequest__Output {
}
