// Original file: broker/proto/lastmile/v1/admin.proto


export interface GetStatusRequest {
}

export interface GetStatusRequest__Output {
}
