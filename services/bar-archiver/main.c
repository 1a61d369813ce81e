#include "ba_service.h"

int main(int argc, char **argv)
{
    return svc_main(&ba_service, argc, argv);
}
